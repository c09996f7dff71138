"""How well a model locates the joints of drawn figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posedeploy.config import ModelConfig
from posedeploy.synthetic.accuracy import AREA
from posedeploy.synthetic.admission import output_maps
from posedeploy.synthetic.calibration import single_thread
from posedeploy.synthetic.drawn import SIGMAS
from posedeploy.synthetic.samples import Samples

_CHUNK = 8  # images a run, so that memory stays small


@dataclass(frozen=True)
class Accuracy:
    """What was measured on held-out figures.

    Attributes:
        pck: Part of the joints nearer than 0.05 of the larger side of the person's box (PCK of
            Yang and Ramanan, 2013, normalized as mmpose's `PCKAccuracy` does by 'bbox').
        pck_10: The same at 0.1.
        mean_px: Mean distance in input px.
        median_px: Median distance in input px.
        oks: Mean object keypoint similarity: https://cocodataset.org/#keypoints-eval
        shift_px: Mean distance in input px between what the model finds and what it finds when
            weights and activations are rounded to 8 bits (`rounding.rounded`).
    """

    pck: float
    pck_10: float
    mean_px: float
    median_px: float
    oks: float
    shift_px: float = 0.0


def locate(model: Any, model_config: ModelConfig, samples: Samples) -> NDArray[np.float64]:
    """Joints that a top-down model finds, [N, 17, 2] in input px, decoded by its own codec."""
    found = []
    with single_thread(), torch.no_grad():
        for batch in torch.split(samples.inputs, _CHUNK):
            maps = output_maps(model, model_config.head_kind, batch)
            found += _decoded(model.head.decoder, model_config, maps)
    return np.stack(found).astype(np.float64)


def _decoded(codec: Any, model_config: ModelConfig, maps: Any) -> list[NDArray[np.floating[Any]]]:
    if model_config.head_kind.kind == "heatmap":
        width, height = model_config.codec["heatmap_size"]
        outputs = maps["output"].unflatten(2, (height, width)).numpy()
        return [codec.decode(output)[0][0] for output in outputs]
    pairs = zip(maps["simcc_x"].numpy(), maps["simcc_y"].numpy(), strict=True)
    return [codec.decode(x[None], y[None])[0][0] for x, y in pairs]


def compare(found: NDArray[np.float64], samples: Samples) -> Accuracy:
    """Compare joints [N, 17, 2] in input px with the true ones of top-down samples."""
    distance = np.linalg.norm(found - samples.joints[:, 0].numpy(), axis=-1)
    sides = (samples.boxes[:, 0, 2:] - samples.boxes[:, 0, :2]).numpy()
    relative = distance / sides.max(axis=1, keepdims=True)
    variance = 2 * (2 * np.array(SIGMAS)) ** 2 * sides.prod(axis=1, keepdims=True) * AREA
    return Accuracy(
        pck=float((relative < 0.05).mean()),
        pck_10=float((relative < 0.1).mean()),
        mean_px=float(distance.mean()),
        median_px=float(np.median(distance)),
        oks=float(np.exp(-(distance**2) / variance).mean()),
    )
