"""Boxes from a detector and from files, and what is written for other programs."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fixtures.commands import Done, film
from fixtures.detector_folders import write_mmdeploy_detector
from posedeploy.cli import main
from posedeploy.cli.infer.boxes import read_boxes
from posedeploy.cli.infer.people import People
from posedeploy.cli.infer.reporters import CocoResults
from posedeploy.cli.infer.sources import Source, find_sources
from posedeploy.errors import BadInputError
from posedeploy.sdk import PersonDetector, PoseDetector, Poses
from posedeploy.synthetic.figures import draw_figure

SIZE = (96, 144)
Infer = Callable[..., Done]


@pytest.fixture
def detector(tiny_sdk: Callable[[str], Path]) -> Path:
    return tiny_sdk("yoloxpose_tiny")


@pytest.fixture
def infer(infer: Infer) -> Infer:
    """The command, with an image and a video in its folder."""
    cv2.imwrite("photo.png", draw_figure(3, SIZE)[0])
    film(Path("walk.avi"), SIZE, frames=3)
    return infer


def people(line: dict[str, Any]) -> np.ndarray:
    """Boxes, scores and keypoints of a line, in one array."""
    rows = [[*p["box"], p["score"], *np.ravel(p["keypoints"])] for p in line["people"]]
    return np.array(rows, np.float32)


def test_boxes_of_a_detector_go_to_the_pose_model(
    infer: Infer, sdk: Path, detector: Path, tmp_path: Path
) -> None:
    done = infer("photo.png", "walk.avi", "--json", f"--detector={detector}")
    image = cv2.imread("photo.png")
    with PersonDetector(detector) as finder, PoseDetector(sdk) as pose:
        boxes = finder.detect(image)  # type: ignore[arg-type]
        poses = pose.detect(image, boxes.boxes)  # type: ignore[arg-type]
    assert len(boxes) > 0
    expected = np.hstack(
        [boxes.boxes, boxes.scores[:, None], poses.keypoints.reshape(len(boxes), -1)]
    )
    np.testing.assert_array_equal(people(done.lines[1]), expected)
    assert [line["kind"] for line in done.lines[2:]] == ["frame"] * 3 + ["video"]
    fewer = infer("photo.png", "--json", f"--detector={detector}", "--det-score=0.9")
    assert len(fewer.lines[1]["people"]) < len(boxes)


def test_a_detector_of_mmdeploys_and_a_zip_of_it(infer: Infer, tmp_path: Path) -> None:
    boxes = [[5.0, 10.0, 45.0, 130.0], [50.0, 12.0, 90.0, 128.0]]
    folder = write_mmdeploy_detector(tmp_path / "det", boxes, [0.9, 0.5], image_size=SIZE)
    with zipfile.ZipFile(tmp_path / "det.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"det/{path.name}")
    plain, zipped = (infer("photo.png", "--json", f"--detector={d}") for d in ("det", "det.zip"))
    assert zipped.lines[1] == plain.lines[1]
    found = plain.lines[1]["people"]
    np.testing.assert_allclose([person["box"] for person in found], boxes, atol=0.01)
    assert [person["score"] for person in found] == pytest.approx([0.9, 0.5])
    assert "label" not in found[0]


def test_a_detector_in_place_of_the_pose_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_mmdeploy_detector(tmp_path / "det", [[5, 10, 45, 130]])
    cv2.imwrite(str(tmp_path / "photo.png"), draw_figure(3, SIZE)[0])
    with pytest.raises(SystemExit, match="2"):
        main(["infer", str(folder), str(tmp_path / "photo.png")])
    error = " ".join(capsys.readouterr().err.split())
    assert "Give it as --detector of `posedeploy infer`" in error


def test_printed_lines_are_a_file_of_boxes(infer: Infer, detector: Path, tmp_path: Path) -> None:
    first = infer("photo.png", "walk.avi", "--json", f"--detector={detector}")
    (tmp_path / "found.jsonl").write_text(first.out)
    again = infer("photo.png", "walk.avi", "--json", "--boxes=found.jsonl")
    assert again.code == 0
    assert again.lines[1:] == first.lines[1:]
    one = infer("photo.png", "--json", "--boxes=found.jsonl", "--det-score=0.99")
    assert one.lines[1]["people"] == []


def test_cocos_results_are_matched_by_numbers_and_names(
    infer: Infer, tmp_path: Path, sdk: Path
) -> None:
    cv2.imwrite("000000000139.png", draw_figure(4, SIZE)[0])
    entries = [
        {"image_id": 139, "category_id": 1, "bbox": [10, 5, 60, 80], "score": 0.9},
        {"image_id": 139, "category_id": 1, "bbox": [30, 5, 60, 80], "score": 0.1},
        {"image_id": 139, "category_id": 18, "bbox": [1, 1, 9, 9], "score": 0.8},
        {"image_id": 140, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.8},
    ]
    (tmp_path / "det.json").write_text(json.dumps(entries))
    done = infer("000000000139.png", "photo.png", "--json", "--boxes=det.json")
    assert done.code == 0
    assert "no boxes in det.json, so nobody: photo.png" in done.err
    found = {line["source"]: line["people"] for line in done.lines[1:]}
    assert [person["box"] for person in found["000000000139.png"]] == [[10, 5, 70, 85]]
    assert found["photo.png"] == []
    images = [{"id": 139, "file_name": "val/photo.png"}]
    (tmp_path / "det.json").write_text(json.dumps({"images": images, "annotations": entries[:3]}))
    dogs = infer("photo.png", "--json", "--boxes=det.json", "--det-classes=0,17").lines[1]
    assert [person["label"] for person in dogs["people"]] == [0, 17]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[1]", "entry 0: found no usable 'image_id'"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]', r"shape \[1, 3\]"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, "x"]}]', "could not convert"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1,2,3,4], "score": "s"}]', "no usable 'sco"),
        ('{"annotations": []}', "no usable 'images'"),
        ('{"kind": "frame", "source": "a", "width": 1}', "no usable 'height'"),
        ("", "found boxes of 0 other images"),
        ("[[[[[[[[[" * 20_000, "no JSON"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_entry(
    tmp_path: Path, content: str, found: str
) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(BadInputError, match=found) as caught:
        read_boxes(path).missing([Source(Path("a.png"), False, True)])
    assert caught.value.subject.startswith(f"--boxes {path}")


def test_boxes_of_an_image_of_another_size_are_refused(infer: Infer, tmp_path: Path) -> None:
    line = {"kind": "image", "source": "x/photo.png", "width": 5, "height": 5, "people": []}
    (tmp_path / "other.jsonl").write_text(json.dumps(line))
    done = infer("photo.png", "--boxes=other.jsonl")
    assert (done.code, "boxes of photo.png at 5x5 px, which is 96x144 px" in done.err) == (2, True)


def test_pycocotools_loads_what_is_written(infer: Infer, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cv2.imwrite("0012.png", draw_figure(4, SIZE)[0])
    cv2.imwrite("7.png", draw_figure(5, SIZE)[0])
    done = infer("0012.png", "7.png", "--coco=found.json", "--json", "--bbox=5,5,70,85")
    truth = coco.COCO()
    truth.dataset = {"images": [{"id": 12}, {"id": 7}], "annotations": [], "categories": []}
    truth.createIndex()
    loaded = truth.loadRes("found.json")
    entries = {entry["image_id"]: entry for entry in loaded.loadAnns(loaded.getAnnIds())}
    for line, number in zip(done.lines[1:], (12, 7), strict=True):
        (person,) = line["people"]
        assert entries[number]["keypoints"] == np.ravel(person["keypoints"]).tolist()
        scores = np.array(person["keypoints"])[:, 2]
        assert entries[number]["score"] == pytest.approx(scores[scores > 0.2].mean())
        assert entries[number]["category_id"] == 1
    assert not (tmp_path / "poses").exists()


def test_frames_have_numbers_of_their_own_in_cocos_results() -> None:
    file, points = io.StringIO(), np.full((2, 17, 3), 0.1, np.float32)
    poses = Poses(points, np.zeros((2, 4), np.float32), np.ones(2, np.float32))
    results = CocoResults(file, numbered=False, top_down=True)
    image, source = np.zeros((4, 4, 3), np.uint8), Source(Path("walk.avi"), True, True)
    for index in (0, 3):
        results.frame(source, People(image, poses, np.array([5, 6]), index))
    entries = json.loads(f"[{file.getvalue()}]")
    assert [(e["image_id"], e["frame"], e["track_id"]) for e in entries] == [
        (1, 0, 5), (1, 0, 6), (2, 3, 5), (2, 3, 6),
    ]  # fmt: skip
    assert {entry["score"] for entry in entries} == {0.0}  # no keypoint counts, as in mmpose


def test_paths_come_from_standard_input(
    infer: Infer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cv2.imwrite("a b.png", draw_figure(4, SIZE)[0])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"photo.png\na b.png\n\n")))
    lines = infer("-", "--json").lines
    assert [line["source"] for line in lines[1:]] == ["photo.png", "a b.png"]
    with pytest.raises(BadInputError, match="standard input: found no lines"):
        find_sources(["-"], io.BytesIO(b"\n"))
    with pytest.raises(BadInputError, match="found standard input"):
        find_sources(["-"])


def test_keypoints_in_openposes_order(infer: Infer) -> None:
    plain = np.array(infer("photo.png", "--json").lines[1]["people"][0]["keypoints"])
    model, image = infer("photo.png", "--json", "--keypoint-order=openpose", "--out=drawn").lines
    found = np.array(image["people"][0]["keypoints"])
    assert (len(model["keypoint_names"]), found.shape) == (18, (18, 3))
    assert model["keypoint_names"][:3] == ["nose", "neck", "right_shoulder"]
    np.testing.assert_allclose(found[1, :2], plain[[5, 6], :2].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found[4], plain[10])
