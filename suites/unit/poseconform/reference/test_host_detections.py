"""mmpose's head goes on from a graph's outputs as it goes on from its own layers'."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from poseconform.reference import host_detections as reference_host
from poseconform.reference import network as reference
from poseconform.reference.host_stage import is_unfinished, pad_rows

SIZE = (96, 96)


@pytest.fixture(scope="module")
def found(tiny_model: Callable[[str], TinyModel]):  # type: ignore[no-untyped-def]
    """Paths, what the head's layers put out `[1, P, C]`, and what `predict` makes of it."""
    tiny = tiny_model("yoloxpose_tiny")
    paths = str(tiny.config), str(tiny.checkpoint)
    model = reference.load_model(*paths)
    batch = reference.prepare(model, [drawn(3, (200, 150))])
    with torch.no_grad():
        feats = model.extract_feat(batch["inputs"])
        layers = model.head.forward(feats)
        people = model.head.predict(feats, batch["data_samples"], dict(model.test_cfg))[0]
    names = reference_host.RAW["YOLOXPoseHead"]
    rows = {
        name: torch.cat([m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps], dim=1)
        for name, maps in zip(names, layers, strict=True)
    }
    return paths, rows, people


def assert_equal(detections: dict[str, np.ndarray], people) -> None:  # type: ignore[no-untyped-def]
    assert len(people.scores) > 1
    np.testing.assert_allclose(detections["dets"][0, :, :4], people.bboxes, atol=1e-4)
    np.testing.assert_allclose(detections["dets"][0, :, 4], people.scores, atol=1e-6)
    np.testing.assert_allclose(detections["keypoints"][0, :, :, :2], people.keypoints, atol=1e-4)
    np.testing.assert_allclose(
        detections["keypoints"][0, :, :, 2], people.keypoint_scores, atol=1e-6
    )


def test_raw_outputs_become_what_predict_finds(found) -> None:  # type: ignore[no-untyped-def]
    paths, rows, people = found
    outputs = {name: tensor.numpy() for name, tensor in rows.items()}
    assert_equal(reference_host.detections(*paths, outputs, SIZE), people)


def test_candidates_become_what_predict_finds(found) -> None:  # type: ignore[no-untyped-def]
    paths, rows, people = found
    head = reference.load_model(*paths).head
    strides = [8] * 144 + [16] * 36 + [32] * 9
    levels = head.prior_generator.grid_priors([(12, 12), (6, 6), (3, 3)], device="cpu")
    priors = torch.cat(levels)[:, :2]
    scale = torch.tensor(strides, dtype=torch.float32)
    scores = rows["cls"].sigmoid() * rows["obj"].sigmoid()
    boxes = head.decode_bbox(rows["bbox"], priors, scale)
    places = head.decode_kpt_reg(rows["kpt_offset"], priors, scale)
    keypoints = torch.cat([places, rows["kpt_vis"].sigmoid().unsqueeze(-1)], dim=-1)
    outputs = {"boxes": boxes, "scores": scores, "keypoints": keypoints}
    dense = {name: tensor.numpy() for name, tensor in outputs.items()}
    detections = reference_host.detections(*paths, dense, SIZE)
    # the boxes are clipped to the input as the graph's contract says
    assert detections["dets"][0, :, :4].min() >= 0
    assert detections["dets"][0, :, :4].max() <= 96
    assert len(detections["dets"][0]) == len(people.scores)
    np.testing.assert_allclose(detections["dets"][0, :, 4], people.scores, atol=1e-6)


def test_nobody_above_the_threshold_is_nobody(found) -> None:  # type: ignore[no-untyped-def]
    paths, rows, _ = found
    outputs = {name: tensor.numpy() for name, tensor in rows.items()}
    outputs["cls"] = np.full_like(outputs["cls"], -50)
    detections = reference_host.detections(*paths, outputs, SIZE)
    assert detections["dets"].shape == (1, 0, 5)
    assert detections["keypoints"].shape == (1, 0, 17, 3)


def test_only_known_outputs_of_a_detector_are_unfinished() -> None:
    assert is_unfinished("rtmo", ["keypoints", "scores", "boxes"])
    assert is_unfinished("yolox-pose", reference_host.RAW["YOLOXPoseHead"])
    assert not is_unfinished("rtmo", ["dets", "keypoints"])
    assert not is_unfinished("simcc", ["keypoints", "scores", "boxes"])


def test_rows_are_padded_with_zeros() -> None:
    padded = pad_rows({"dets": np.ones((1, 2, 5)), "keypoints": np.ones((1, 2, 3, 3))}, 4)
    assert padded["dets"].shape == (1, 4, 5)
    assert padded["keypoints"].shape == (1, 4, 3, 3)
    assert padded["dets"].sum() == 10
