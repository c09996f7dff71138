"""What came out of a backend: runs of a cell over all samples, in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.judge import execution


@dataclass(frozen=True)
class Batch:
    """One run of the backend.

    Attributes:
        samples: Which samples were in it.
        outputs: What the graph put out.
        seconds: How long the backend took.
        detections: `dets` and `keypoints` where the graph ends before suppression, and mmpose's
            own head went on from there; empty elsewhere.
    """

    samples: tuple[int, ...]
    outputs: Mapping[str, NDArray[Any]]
    seconds: float
    detections: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """A cell's backend run over all samples."""

    loaded: execution.Loaded
    batches: tuple[Batch, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What is judged: the graph's outputs, or the detections that were made of them."""
        return tuple(self.batches[0].detections) or tuple(i.name for i in self.loaded.outputs)

    def rows(self, name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """All rows of what is judged, `[R, ...]`, and the sample of each."""
        return self._rows([{**batch.outputs, **batch.detections}[name] for batch in self.batches])

    def graph_rows(self, output: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """All rows of an output of the graph, `[R, ...]`, and the sample of each."""
        return self._rows([batch.outputs[output] for batch in self.batches])

    def _rows(self, parts: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        index = np.concatenate([np.asarray(batch.samples, np.intp) for batch in self.batches])
        return np.concatenate(parts), index


def plan_batches(shape_mode: str, samples: int) -> tuple[tuple[int, ...], ...]:
    """Which samples are run together: one by one, or in batches of 1, 2 and 5 that overlap.

    The overlap shows whether a image's result depends on its batch.
    """
    if shape_mode == "static":
        return tuple((i,) for i in range(samples))
    return ((0,), tuple(range(1, min(3, samples))), tuple(range(1, min(6, samples))))
