"""Labeled data sets: COCO's format, COCO's metric, and the two sides of a limit."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import posedeploy
from fixtures.builders import make_model
from fixtures.fake_subject import FLOWS
from fixtures.tiny_models import TinyModel
from poseconform.compare.tolerances import LEAST_AP
from poseconform.datasets.labeled import DataSet, from_people, read_coco
from poseconform.datasets.scoring import (
    People,
    Score,
    no_people,
    person_scores,
    read_people,
    save_people,
    score,
)
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.isolation.child import ChildFailure
from poseconform.judge import measuring
from poseconform.judge.limits import Limits, Scale
from poseconform.judge.stages import StageFailure
from poseconform.matrix import weights
from poseconform.matrix.cells import Cell, Model
from poseconform.reference.figures import write_people
from posedeploy.runtime.processes import Limit
from posedeploy.synthetic.drawn import drawn_figures

SIZE = (160, 120)
Tiny = Callable[[str], TinyModel]


def drawn(count: int = 6, people: int = 1) -> DataSet:
    figures = drawn_figures("evaluation", count, people, SIZE)
    parts = [(figure.image, figure.bboxes, figure.keypoints) for figure in figures]
    return from_people("drawn", f"{count} x {people}", parts)


def truth_of(data: DataSet, shift: float = 0.0, mark: float = 0.9) -> list[People]:
    found = []
    for labeled in data.images:
        points = labeled.keypoints.copy()
        points[..., :2] += shift
        points[..., 2] = mark
        found.append(People(points, np.ones(len(points))))
    return found


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """COCO's folders with four drawn images, one person without joints and one crowd."""
    data = drawn(4, 2)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    content = json.loads(json.dumps(data.ground_truth))
    for image, labeled in zip(content["images"], data.images, strict=True):
        cv2.imwrite(str(tmp_path / "val2017" / image["file_name"]), labeled.pixels())
    first = dict(content["annotations"][0])
    more = [
        {**first, "id": 90, "num_keypoints": 0, "keypoints": [0] * 51},
        {**first, "id": 91, "iscrowd": 1},
    ]
    content["annotations"] += more
    content["images"].append({"id": 99, "file_name": "99.png", "width": 9, "height": 9})
    file = tmp_path / "annotations" / "person_keypoints_val2017.json"
    file.write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(("people", "bottom_up"), [(1, False), (3, True)])
def test_the_truth_scores_all_and_an_error_less(people: int, bottom_up: bool) -> None:
    data = drawn(6, people)
    assert score(data, truth_of(data), bottom_up) == Score(1.0, 1.0, 1.0)
    worse = score(data, truth_of(data, shift=2.0), bottom_up)
    worst = score(data, truth_of(data, shift=60.0), bottom_up)
    assert worst.ap < worse.ap < 1
    assert worst.pck < 0.2
    assert score(data, [no_people() for _ in data.images], True) == Score(0.0, 0.0, 0.0)


def test_a_missed_person_costs_recall_and_pck() -> None:
    data = drawn(6, 2)
    found = [People(p.keypoints[:1], p.scores[:1]) for p in truth_of(data)]
    scored = score(data, found, bottom_up=True)
    assert scored.ar == pytest.approx(0.5)
    assert scored.pck == pytest.approx(0.5)


def test_the_order_of_people_does_not_matter_where_nobody_gave_boxes() -> None:
    data = drawn(6, 3)
    turned = [People(p.keypoints[::-1], p.scores) for p in truth_of(data)]
    assert score(data, turned, bottom_up=True).pck == 1.0
    assert score(data, turned, bottom_up=False).pck < 0.5


def test_a_persons_score_is_that_of_its_clear_keypoints() -> None:
    points = np.zeros((2, 17, 3))
    points[0, :, 2], points[0, :3, 2] = 0.8, 0.1
    points[1, :, 2] = 0.1
    people = People(points, np.array([0.5, 1.0]))
    assert person_scores(people, bottom_up=False).tolist() == pytest.approx([0.4, 0.0])
    assert person_scores(people, bottom_up=True).tolist() == [0.5, 1.0]


def test_coco_is_read_as_it_is_distributed(coco_root: Path) -> None:
    data = read_coco(coco_root)
    expected = drawn(4, 2)
    assert [p.id for p in data.images] == [1, 2, 3, 4]
    for ours, theirs in zip(data.images, expected.images, strict=True):
        np.testing.assert_array_equal(ours.pixels(), theirs.pixels())
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-3)
        np.testing.assert_allclose(ours.keypoints, theirs.keypoints, atol=1e-3)
    assert len(data.ground_truth["annotations"]) == 10
    assert score(data, truth_of(data), True).ap == 1.0
    assert [p.id for p in read_coco(coco_root, most=2).images] == [1, 2]
    assert read_coco(coco_root, most=2).key != data.key


def test_coco_that_is_not_there(coco_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(pytest.UsageError, match="found no annotations/person_keypoints_val2017"):
        read_coco(tmp_path_factory.mktemp("nothing"))
    with pytest.raises(pytest.UsageError, match="train2017"):
        read_coco(coco_root, "train2017")
    file = coco_root / "annotations" / "person_keypoints_val2017.json"
    for text in ("{", "{}", '{"annotations": 3}'):
        file.write_text(text)
        with pytest.raises(pytest.UsageError, match="Unpack it again"):
            read_coco(coco_root)


def test_a_image_that_is_not_there(coco_root: Path) -> None:
    data = read_coco(coco_root)
    (coco_root / "val2017" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png"):
        data.images[0].pixels()


def test_people_are_written_and_read(tmp_path: Path) -> None:
    one = truth_of(drawn(2, 2))
    for found in ([*one, no_people()], [no_people(), no_people()]):
        save_people(found, tmp_path)
        again = read_people(tmp_path)
        assert len(again) == len(found)
        for a, b in zip(again, found, strict=True):
            np.testing.assert_array_equal(a.keypoints, b.keypoints)
            np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("rtmpose_t", "pose-detection_simcc_onnxruntime_static"),
        ("yoloxpose_tiny", "pose-detection_yolox-pose_onnxruntime_dynamic"),
    ],
)
def test_mmpose_and_the_client_find_the_same(
    name: str, config: str, tiny_model: Tiny, coco_root: Path, tmp_path: Path
) -> None:
    model = tiny_model(name)
    posedeploy.deploy(config, model.config, model.checkpoint, tmp_path / "sdk")
    data, bottom_up = read_coco(coco_root), name == "yoloxpose_tiny"
    (tmp_path / "people").mkdir()
    judged = make_model("yolox-pose" if bottom_up else "simcc", config=str(model.config))
    facts = write_people(judged, str(model.checkpoint), data.images, str(tmp_path / "people"))
    assert facts["images"] == 4
    theirs = read_people(tmp_path / "people")
    ours = measuring.people_of_client(str(tmp_path / "sdk"), data.images, bottom_up)
    for one, other in zip(ours, theirs, strict=True):
        count = len(one.scores)  # a graph keeps keep_top_k people, best first
        assert 1 <= count <= len(other.scores)
        np.testing.assert_allclose(one.keypoints, other.keypoints[:count], atol=0.05)
        np.testing.assert_allclose(one.scores, other.scores[:count], atol=1e-4)
    assert score(data, ours, bottom_up) == score(data, theirs, bottom_up) or bottom_up


class InProcess:
    """A judge that runs children's functions here."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder, self.path = folder, checkpoint
        self.limits = Limits()
        self.cache = ArtifactCache(folder / "cache")
        self.done: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self.done:
            self.done[key] = make()
        return self.done[key]

    def checkpoint(self, _model: Model) -> str:
        return str(self.path)

    def pytorch_seconds(self, _model: Model) -> float:
        return 0.0

    def limit(self, scale: Scale, _cell: Any, images: int) -> Limit:
        return scale.limit(images=images)

    def reference_parts(self, _model: Model, _samples: Any) -> dict[str, object]:
        return {"checkpoint": self.path.name}

    def conversion(self, _cell: Any) -> Any:
        return SimpleNamespace(folder=self.folder / "sdk")

    def in_torch(self, target: str, *args: Any, **_: Limit) -> Any:
        module, name = target.split(":")
        return getattr(importlib.import_module(module), name)(*args)

    @contextmanager
    def child(self, _name: str, _cell: Cell | None = None) -> Iterator[Any]:
        yield SimpleNamespace(call=self.call)

    def call(self, target: str, *args: Any, timeout: Limit) -> Any:
        if not (self.folder / "sdk").is_dir():
            raise ChildFailure("no folder")
        return self.in_torch(target, *args, timeout=timeout)


def test_both_are_scored_on_the_same_set(tiny_model: Tiny, tmp_path: Path) -> None:
    config, files = "pose-detection_simcc_onnxruntime_static", tiny_model("rtmpose_t")
    judge: Any = InProcess(tmp_path, files.checkpoint)
    model = replace(model_of(), config=str(files.config))
    cell, data = Cell(model, FLOWS[0]), drawn(4)
    with pytest.raises(StageFailure, match="no folder"):
        measuring.client_score(judge, cell, data)
    posedeploy.deploy(config, files.config, files.checkpoint, tmp_path / "sdk")
    reference = measuring.pytorch_score(judge, model, data)
    assert measuring.client_score(judge, cell, data) == reference
    assert measuring.pytorch_score(judge, model, data) == reference
    assert reference.ap < LEAST_AP  # random weights find nobody


def model_of(**fields: Any) -> Model:
    return Model("m", "HRNet", (), "", (256, 192), "m.py", **fields)


def test_published_weights_are_a_kind() -> None:
    kinds = [weights.weights_for(model_of(), p, "zoo", lambda _: ()) for p in ("fp32", "int8")]
    assert kinds == ["zoo", "zoo"]
    assert weights.weights_for(model_of(checkpoint="a.pth"), "fp32", "zoo", lambda _: ()) == "user"
