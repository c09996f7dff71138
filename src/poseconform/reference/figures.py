"""PyTorch's keypoints on labeled figures, in float32; runs in a child that has torch loaded.

The weights are those of the flow, so what a flow adds to them is all that differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.datasets.accuracy import ACCURACY_FILE, Figure
from poseconform.reference.codecs import decode_outputs
from poseconform.reference.network import final_outputs, load_model, prepare


def write_accuracy(
    config_path: str, checkpoint: str, figures: Sequence[Figure], folder: str
) -> Mapping[str, object]:
    """Write `accuracy.npz` for a top-down model: inputs, PyTorch's keypoints and the truth.

    Args:
        config_path: MMPose model config.
        checkpoint: Its checkpoint.
        figures: Labeled images, one person each.
        folder: Where the file goes.

    Returns:
        Facts for the record.
    """
    torch.set_num_threads(1)
    model = load_model(config_path, checkpoint)
    batch = prepare(model, [figure.sample for figure in figures])
    outputs = final_outputs(model, batch["inputs"])
    keypoints, _ = decode_outputs(model.head.decoder, outputs)
    truth, sizes = _in_input_px(batch["data_samples"], figures)
    np.savez(
        Path(folder) / ACCURACY_FILE, inputs=batch["inputs"].numpy(), keypoints=keypoints,
        truth=truth, sizes=sizes,
    )  # fmt: skip
    return {"figures": len(figures), "torch": torch.__version__}


def _in_input_px(
    data_samples: Sequence[Any], figures: Sequence[Figure]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True keypoints `[S, K, 2]` and the boxes' sizes `[S, 2]`, both in input px.

    mmpose's top-down crop is a translation and one scale: `input_center`, `input_scale` and
    `input_size` of its packed samples say which.
    """
    truth, sizes = [], []
    for sample, figure in zip(data_samples, figures, strict=True):
        extent = np.asarray(sample.input_scale, np.float64).reshape(2)
        scale = np.asarray(sample.input_size, np.float64) / extent
        corner = np.asarray(sample.input_center, np.float64).reshape(2) - extent / 2
        left, top, right, bottom = figure.sample.bbox
        truth.append((figure.keypoints - corner) * scale)
        sizes.append(np.asarray([right - left, bottom - top]) * scale)
    return np.stack(truth), np.stack(sizes)
