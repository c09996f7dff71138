"""mmpose's head goes on from a graph's outputs as it goes on from its own layers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch

from fixtures.builders import make_model
from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from poseconform.reference import network as reference
from poseconform.reference.heads import BottomUp, reference_head
from poseconform.reference.host_detections import detections

SIZE = (96, 96)


# Paths, outputs of the head's layers `[1, P, C]`, and the people of `predict`
Predicted = tuple[tuple[str, str], dict[str, torch.Tensor], Any]


@pytest.fixture(scope="module", params=["yoloxpose_tiny", "yoloxpose_tiny/2"])
def predicted(tiny_model: Callable[[str], TinyModel], request: pytest.FixtureRequest) -> Predicted:
    tiny = tiny_model(request.param)
    paths = str(tiny.config), str(tiny.checkpoint)
    model = reference.load_model(*paths)
    batch = reference.prepare(model, [drawn(3, (200, 150))], top_down=False)
    with torch.no_grad():
        feats = model.extract_feat(batch["inputs"])
        layers = model.head.forward(feats)
        people = model.head.predict(feats, batch["data_samples"], dict(model.test_cfg))[0]
    names = cast("BottomUp", reference_head("yolox-pose").kind).layers
    rows = {
        name: torch.cat([m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps], dim=1)
        for name, maps in zip(names, layers, strict=True)
    }
    return paths, rows, people


def finished(
    paths: tuple[str, str], *outputs: dict[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Detections of each image."""
    model = make_model("yolox-pose", config=paths[0], shape=SIZE)
    return detections(model, paths[1], outputs)


def assert_equal(ended: dict[str, np.ndarray], people: Any) -> None:
    assert len(people.scores) > 1
    np.testing.assert_allclose(ended["dets"][0, :, :4], people.bboxes, atol=1e-4)
    np.testing.assert_allclose(ended["dets"][0, :, 4], people.scores, atol=1e-6)
    np.testing.assert_array_equal(ended["dets"][0, :, 5], people.labels)
    np.testing.assert_allclose(ended["keypoints"][0, :, :, :2], people.keypoints, atol=1e-4)
    np.testing.assert_allclose(ended["keypoints"][0, :, :, 2], people.keypoint_scores, atol=1e-6)


def test_raw_outputs_become_what_predict_finds(predicted: Predicted) -> None:
    paths, rows, people = predicted
    outputs = {name: tensor.numpy() for name, tensor in rows.items()}
    (ended,) = finished(paths, outputs)
    assert_equal(ended, people)


def test_candidates_become_what_predict_finds(predicted: Predicted) -> None:
    paths, rows, people = predicted
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
    (ended,) = finished(paths, dense)
    # the boxes are clipped to the input as the graph's contract says
    assert ended["dets"][0, :, :4].min() >= 0
    assert ended["dets"][0, :, :4].max() <= 96
    assert len(ended["dets"][0]) == len(people.scores)
    np.testing.assert_array_equal(ended["dets"][0, :, 5], people.labels)
    np.testing.assert_allclose(ended["dets"][0, :, 4], people.scores, atol=1e-6)


def test_nobody_above_the_threshold_is_nobody(predicted: Predicted) -> None:
    paths, rows, _ = predicted
    outputs = {name: tensor.numpy() for name, tensor in rows.items()}
    outputs["cls"] = np.full_like(outputs["cls"], -50)
    (ended,) = finished(paths, outputs)
    assert ended["dets"].shape == (1, 1, 6)  # a row at least, of zeros
    assert ended["keypoints"].shape == (1, 1, 17, 3)
    assert not ended["dets"].any()


def test_images_with_fewer_people_are_padded_with_zero_rows(predicted: Predicted) -> None:
    paths, rows, people = predicted
    outputs = {name: tensor.numpy() for name, tensor in rows.items()}
    empty = outputs | {"cls": np.full_like(outputs["cls"], -50)}
    first, second = finished(paths, empty, outputs)
    assert first["dets"].shape == (1, len(people.scores), 6)
    assert not first["dets"].any()
    assert not first["keypoints"].any()
    assert_equal(second, people)
