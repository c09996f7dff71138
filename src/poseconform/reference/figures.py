"""Labeled images in PyTorch, in float32; runs in a child that has torch loaded.

The weights are those of the flow, so only what the flow changes differs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.datasets.labeled import LabeledImage
from poseconform.datasets.scoring import People, no_people, save_people
from poseconform.matrix.cells import Model
from poseconform.reference.codecs import decode_outputs
from poseconform.reference.heads import BottomUp, reference_head
from poseconform.reference.network import final_outputs, load_model, prepare, top_down
from poseconform.reference.values import FIGURES_FILE, sample_of


def figure_inputs(
    judged: Model, checkpoint: str, figures: Sequence[LabeledImage]
) -> NDArray[np.float32]:
    """Normalized inputs `[S, 3, H, W]` of a model that takes whole images."""
    torch.set_num_threads(1)
    model = load_model(judged.config, checkpoint)
    samples = [sample_of(figure) for figure in figures]
    inputs = prepare(model, samples, top_down=False)["inputs"]
    return np.asarray(inputs.numpy(), np.float32)


def write_figures(
    judged: Model, checkpoint: str, figures: Sequence[LabeledImage], folder: str
) -> Mapping[str, object]:
    """Write `figures.npz` of figures with one person each; returns facts for the record."""
    torch.set_num_threads(1)
    model = load_model(judged.config, checkpoint)
    batch = prepare(model, [sample_of(figure) for figure in figures], top_down=True)
    computing = time.process_time()
    head = reference_head(judged.head)
    outputs = final_outputs(head, model, batch["inputs"])
    computed = time.process_time() - computing
    decoding = top_down(head).decoding(model.head)
    keypoints, _ = decode_outputs(decoding.decoder, head.read(outputs))
    truth, sizes = _in_input_px(batch["data_samples"], figures)
    np.savez(
        Path(folder) / FIGURES_FILE, inputs=batch["inputs"].numpy(), keypoints=keypoints,
        truth=truth, sizes=sizes,
    )  # fmt: skip
    return {
        "figures": len(figures),
        "cpu_seconds_per_image": round(computed / len(figures), 4),
        "torch": torch.__version__,
    }


def _in_input_px(
    data_samples: Sequence[Any], figures: Sequence[LabeledImage]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True keypoints `[S, K, 2]` and the boxes' sizes `[S, 2]`, both in input px.

    mmpose's top-down crop is a translation and one scale, which `input_center`, `input_scale` and
    `input_size` of its packed samples hold.
    """
    truth, sizes = [], []
    for sample, figure in zip(data_samples, figures, strict=True):
        extent = np.asarray(sample.input_scale, np.float64).reshape(2)
        scale = np.asarray(sample.input_size, np.float64) / extent
        corner = np.asarray(sample.input_center, np.float64).reshape(2) - extent / 2
        left, top, right, bottom = figure.boxes[0].tolist()
        truth.append((figure.keypoints[0, :, :2] - corner) * scale)
        sizes.append(np.asarray([right - left, bottom - top]) * scale)
    return np.stack(truth), np.stack(sizes)


def write_people(
    judged: Model, checkpoint: str, images: Sequence[LabeledImage], folder: str
) -> dict[str, object]:
    """Write `people.npz` of mmpose's own estimator; returns facts for the record.

    Top-down models get the true boxes.
    """
    torch.set_num_threads(1)
    model = load_model(judged.config, checkpoint)
    from mmpose.apis import inference_bottomup, inference_topdown

    detected = []
    for labeled in images:
        image = labeled.pixels()
        if isinstance(reference_head(judged.head).kind, BottomUp):
            detected.append(_people(inference_bottomup(model, image)))
        elif not len(labeled.boxes):
            detected.append(no_people())
        else:
            detected.append(_people(inference_topdown(model, image, labeled.boxes)))
    save_people(detected, Path(folder))
    return {"images": len(images), "torch": torch.__version__}


def _people(results: Sequence[Any]) -> People:
    """The people of one image, which mmpose returns in one sample or one each."""
    keypoints, scores = [], []
    for instances in (result.pred_instances for result in results):
        points = np.asarray(instances.keypoints, np.float64)[..., :2]
        marks = np.asarray(instances.keypoint_scores, np.float64)[..., None]
        keypoints.append(np.concatenate([points, marks], -1))
        scores.append(np.asarray(instances.bbox_scores, np.float64))
    return People(np.concatenate(keypoints), np.concatenate(scores))
