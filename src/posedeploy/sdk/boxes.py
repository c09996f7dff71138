"""What `PersonDetector` finds: boxes with scores and classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Boxes:
    """Boxes found in one image, best first."""

    boxes: NDArray[np.float32]  # `[n, 4]`: left, top, right, bottom in image px
    scores: NDArray[np.float32]  # `[n]`
    labels: NDArray[np.int64] | None = None  # `[n]`: class, from 0; None for models of one class

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Boxes:
        """Those boxes of the image, by a mask or by their numbers."""
        labels = None if self.labels is None else self.labels[rows]
        return Boxes(self.boxes[rows], self.scores[rows], labels)
