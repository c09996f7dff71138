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

from poseconform.compare.metrics import keypoint_distances
from poseconform.compare.tolerances import Tolerance, allowed_error, tolerance_for
from poseconform.datasets.labeled import LabeledImage
from poseconform.datasets.scoring import People, no_people, save_people
from poseconform.matrix.cells import Model
from poseconform.reference.codecs import decode_outputs
from poseconform.reference.errors import REF_ERRORS, ref_error
from poseconform.reference.heads import BottomUp, reference_head
from poseconform.reference.network import final_outputs, load_model, prepare, top_down
from poseconform.reference.values import FIGURES_FILE, ROUNDING_FILE, RefError, sample_of

DRAWS = 32  # two cells that tie change places in all but one case of 10,000


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


def write_rounding(
    judged: Model, checkpoint: str, precision: str, figures: Sequence[LabeledImage], folder: str
) -> Mapping[str, object]:
    """Write `rounding.npz` of figures with one person each; returns facts for the record.

    The reach of honest rounding is the largest move of a keypoint over `DRAWS` errors of the
    allowed size and random signs, which the model's own codec decodes; of models with an output
    for each coordinate, that of both.
    """
    torch.set_num_threads(1)
    model, head = load_model(judged.config, checkpoint), reference_head(judged.head)
    inputs = prepare(model, [sample_of(figure) for figure in figures], top_down=True)["inputs"]
    truth = final_outputs(head, model, inputs)
    (run,) = REF_ERRORS[precision]
    with run(model) as (ready, cast):
        rounded = final_outputs(head, ready, cast(inputs))
    decoder = top_down(head).decoding(model.head).decoder
    keypoints, _ = decode_outputs(decoder, head.read(rounded))
    exact, _ = decode_outputs(decoder, head.read(truth))
    rng, row = np.random.default_rng(0), tolerance_for("*", precision)
    squares = np.zeros(exact.shape[:2])
    for name, array in head.read(truth).items():
        farthest, allowed = np.zeros(exact.shape[:2]), _allowed(row, rounded[name], array)
        for _ in range(DRAWS):
            noisy = array + rng.choice([-allowed, allowed], array.shape)
            moved, _ = decode_outputs(decoder, head.read(truth | {name: noisy}))
            farthest = np.maximum(farthest, keypoint_distances(moved, exact))
        squares += np.square(farthest)
    reach = np.sqrt(squares)
    np.savez(Path(folder) / ROUNDING_FILE, keypoints=keypoints, reach=reach)
    return {"figures": len(figures), "torch": torch.__version__}


def _allowed(row: Tolerance, rounded: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Largest error that is allowed of an output."""
    own = RefError(*ref_error(np.abs(rounded - truth), truth))
    return allowed_error(row, own.size_max, own.size_rms, own.max, own.rms).max


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
