"""Network inputs of labeled figures; runs in a child that has torch loaded.

For models whose keypoints on the figures are not compared: detectors, which take whole images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.datasets.accuracy import Figure
from poseconform.reference.network import load_model, prepare


def prepared(config_path: str, checkpoint: str, figures: Sequence[Figure]) -> NDArray[np.float32]:
    """Normalized inputs `[S, 3, H, W]`, by mmpose's own test pipeline.

    Args:
        config_path: MMPose model config.
        checkpoint: Its checkpoint.
        figures: Labeled images, one person each.
    """
    torch.set_num_threads(1)
    model = load_model(config_path, checkpoint)
    inputs = prepare(model, [figure.sample for figure in figures])["inputs"]
    return np.asarray(inputs.numpy(), np.float32)
