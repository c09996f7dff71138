"""Boxes of people: from pose models, from MMDeploy's detection folders, from bare graphs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fixtures.detector_folders import (
    NO_NORMALIZE,
    brightest_graph,
    dets_graph,
    in_input_px,
    rtmdet_transforms,
    write_folder,
    write_mmdeploy_detector,
    yolox_graph,
)
from posedeploy.errors import BadInputError
from posedeploy.sdk import PersonDetector, PoseDetector
from posedeploy.sdk.validate import validate

IMAGE = np.zeros((481, 643, 3), np.uint8)
SIZE = (643, 481)  # of the image
# A person, one hidden behind another, a chair, someone small
BOXES: list[list[float]] = [
    [10, 20, 200, 400], [300, 30, 500, 470], [304, 34, 497, 461], [40, 40, 90, 200],
    [600, 3, 605, 8],
]  # fmt: skip
SCORES = [0.8, 0.9, 0.5, 0.95, 0.35]
LABELS = [0, 0, 0, 56, 0]
BEST = [1, 0, 4]  # of class 0, best first, without the hidden one
INPUT = (320, 320)


def detection_folder(folder: Path, **how: Any) -> Path:
    return write_mmdeploy_detector(folder, BOXES, SCORES, LABELS, image_size=SIZE, **how)


Write = Callable[[Path], tuple[Path, dict[str, Any]]]  # a detector, and how it is opened
WRITERS: dict[str, Write] = {
    "MMDeploy's folder": lambda p: (detection_folder(p / "det"), {}),
    "its zip": lambda p: (zipped(detection_folder(p / "det"), p / "det.zip"), {}),
    "a file in it": lambda p: (detection_folder(p / "det") / "end2end.onnx", {}),
    "static batch": lambda p: (detection_folder(p / "det", batch=1), {}),
    "wide input": lambda p: (detection_folder(p / "det", size=(640, 640)), {}),
    "YOLOX, raw": lambda p: (bare_yolox(p, INPUT), {}),
    "YOLOX, raw, wide": lambda p: (bare_yolox(p, (640, 384)), {}),
    "YOLOX, decoded": lambda p: (bare_yolox(p, INPUT, decoded=True), {}),
    "RTMDet with NMS": lambda p: (bare_dets(p, LABELS), {"family": "rtmdet"}),
    "YOLOX with NMS": lambda p: (bare_dets(p, LABELS), {"family": "yolox"}),
}


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for file in folder.iterdir():
            target.write(file, f"20230928/{file.name}")
    return path


def bare_yolox(folder: Path, size: tuple[int, int], **how: Any) -> Path:
    placed = in_input_px(BOXES, SIZE, size)
    return yolox_graph(folder / "yolox.onnx", placed, SCORES, LABELS, size=size, **how)


def bare_dets(folder: Path, labels: list[int] | None) -> Path:
    placed = in_input_px(BOXES, SIZE, INPUT)
    return dets_graph(folder / "detector.onnx", placed, SCORES, labels, size=INPUT)


@pytest.mark.parametrize("name", WRITERS)
def test_people_are_found_in_image_px_best_first(tmp_path: Path, name: str) -> None:
    path, how = WRITERS[name](tmp_path)
    with PersonDetector(path, **how) as detector:
        found = detector.detect(IMAGE)
        np.testing.assert_array_equal(detector(IMAGE), found.boxes)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.boxes, np.array(BOXES)[BEST], atol=2e-3)
    np.testing.assert_allclose(found.scores, np.array(SCORES)[BEST], rtol=1e-6)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 0]


def test_a_graph_of_one_class_needs_no_labels(tmp_path: Path) -> None:
    found = PersonDetector(bare_dets(tmp_path, None), family="yolox").detect(IMAGE)
    assert found.labels is None
    assert found.scores.tolist() == pytest.approx([0.95, 0.9, 0.8, 0.35])


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, BEST),
        ({"score_threshold": 0.85}, [1]),
        ({"score_threshold": 0.9}, []),  # exclusive
        ({"score_threshold": 0.0, "nms_threshold": 1.0}, [1, 0, 2, 4]),
        ({"nms_threshold": 0.9}, [1, 0, 4]),  # the two overlap by .934
        ({"nms_threshold": 0.95}, [1, 0, 2, 4]),
        ({"classes": [56]}, [3]),
        ({"classes": [0, 56]}, [3, 1, 0, 4]),
        ({"classes": [7]}, []),
    ],
)
def test_options_choose_boxes(tmp_path: Path, options: dict[str, Any], rows: list[int]) -> None:
    found = PersonDetector(detection_folder(tmp_path / "det"), **options).detect(IMAGE)
    np.testing.assert_allclose(found.boxes, np.array(BOXES)[rows].reshape(-1, 4), atol=2e-3)
    assert found.scores.shape == (len(rows),)


def test_suppression_does_not_ask_for_the_class(tmp_path: Path) -> None:
    folder = write_mmdeploy_detector(
        tmp_path / "det", [BOXES[1], BOXES[2]], [0.5, 0.9], [0, 1], image_size=SIZE
    )
    assert len(PersonDetector(folder, classes=[0, 1]).detect(IMAGE)) == 1
    # a chair in front of a person takes nobody away
    assert PersonDetector(folder).detect(IMAGE).scores.tolist() == [0.5]


@pytest.mark.parametrize(
    ("params", "rows"),
    [
        ({"score_thr": 0.85}, [1]),
        ({"conf_thr": 0.85, "score_thr": 0.0}, [1]),  # as MMDeploy's client reads YOLOv3's
        ({"min_bbox_size": 6}, [1, 0]),
        ({"min_bbox_size": 210}, []),
    ],
)
def test_parameters_of_the_folder_count_too(
    tmp_path: Path, params: dict[str, Any], rows: list[int]
) -> None:
    folder = detection_folder(tmp_path / "det")
    write_folder(folder, rtmdet_transforms(INPUT), params=params)
    found = PersonDetector(folder).detect(IMAGE)
    np.testing.assert_allclose(found.boxes, np.array(BOXES)[rows].reshape(-1, 4), atol=2e-3)


def test_boxes_end_at_the_image(tmp_path: Path) -> None:
    folder = write_mmdeploy_detector(
        tmp_path / "det", [[-20, -9, 700, 500], [700, 10, 720, 50]], image_size=SIZE
    )
    found = PersonDetector(folder).detect(IMAGE)
    assert found.boxes.tolist() == [[0, 0, 643, 481]]  # nothing is left of the other


SIDES = st.integers(20, 700)


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[NDArray[np.uint8], list[int]]:
    """A black image of any size with a white rectangle, and the rectangle's corners, px."""
    width, height = draw(SIDES), draw(SIDES)
    image = np.zeros((height, width, 3), np.uint8)
    corners = []
    for side in (width, height):
        low = draw(st.integers(0, side - 8))
        corners.append((low, draw(st.integers(low + 8, side))))
    (left, right), (top, bottom) = corners
    image[top:bottom, left:right] = 255
    return image, [left, top, right, bottom]


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PersonDetector]:
    """Detectors that find what is bright: in each kind of pipeline and layout."""
    root = tmp_path_factory.mktemp("bright")
    folder = write_folder(root / "det", rtmdet_transforms((320, 320)))
    brightest_graph(folder / "end2end.onnx", (320, 320), 1.0)  # of (255 - 110) / 57
    stretched: list[dict[str, Any]] = [{"type": "Resize", "size": [256, 192]}, NO_NORMALIZE]
    tail: list[dict[str, Any]] = [
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img"]},
    ]
    other = write_folder(root / "other", [{"type": "LoadImageFromFile"}, *stretched, *tail])
    brightest_graph(other / "end2end.onnx", (256, 192), 127.0)
    wide = brightest_graph(root / "wide.onnx", (416, 224), 127.0)
    last = brightest_graph(root / "last.onnx", (224, 416), 127.0, channels_last=True)
    return {
        "letterbox": PersonDetector(folder),
        "stretched": PersonDetector(other),
        "bare": PersonDetector(wide, family="yolox"),
        "channels last": PersonDetector(last, family="yolox"),
    }


@given(drawn=rectangles())
@pytest.mark.parametrize("name", ["letterbox", "stretched", "bare", "channels last"])
def test_what_lies_somewhere_in_the_image_is_found_there(
    bright: dict[str, PersonDetector], name: str, drawn: tuple[NDArray[np.uint8], list[int]]
) -> None:
    """Odd sizes too: what places the image in the input and what maps boxes back agree."""
    image, rectangle = drawn
    found = bright[name].detect(image)
    height, width = image.shape[:2]
    side = max(1.0, width / bright[name].input_size[0], height / bright[name].input_size[1])
    # an edge is found to half an input px, and lies within half an image px of it after resizing
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], rectangle, atol=side + 0.5)


def test_a_batch_is_what_each_image_gives(bright: dict[str, PersonDetector]) -> None:
    images = []
    for i, (height, width) in enumerate([(97, 61), (301, 200), (64, 640)]):
        image = np.zeros((height, width, 3), np.uint8)
        image[20 + i : 60, 10:50] = 255
        images.append(image)
    for one, image in zip(bright["letterbox"].detect_batch(images), images, strict=True):
        np.testing.assert_array_equal(one.boxes, bright["letterbox"].detect(image).boxes)
        assert one.boxes[0, 3] == pytest.approx(60, abs=2)


def seen(*people: list[int]) -> NDArray[np.uint8]:
    """An image for the graph 'detections', which outputs rows of `dets` as it shows them."""
    image = np.zeros((64, 64, 3), np.uint8)
    for row, values in enumerate(people):
        image[row, : len(values), 0] = values
    return image


def test_boxes_of_a_pose_model_that_finds_people(folders: Any) -> None:
    folder = folders.make("detections")
    image = seen([9, 9, 50, 60, 9], [9, 10, 50, 60, 7], [1, 2, 30, 20, 3])
    expected = PoseDetector(folder).detect(image)
    found = PersonDetector(folder, nms_threshold=1).detect(image)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, [9, 7, 3])
    assert found.labels is None
    assert PersonDetector(folder).detect(image).scores.tolist() == [9, 3]


def test_classes_have_names_where_the_folder_has_them(folders: Any) -> None:
    content = folders.json("detections")
    content["detail.json"]["posedeploy"]["dataset_meta"]["class_names"] = ["cat", "dog"]
    folder = folders.write(content, folders.graph("detections", columns=6))
    image = seen([9, 9, 50, 60, 9, 1], [1, 2, 30, 20, 3, 0])
    both = PersonDetector(folder).detect(image)
    assert both.labels is not None
    assert both.labels.tolist() == [1, 0]  # no class of a pose model is left out
    assert PersonDetector(folder, classes=["dog"]).detect(image).scores.tolist() == [9]
    with pytest.raises(BadInputError, match="0 to 1 or their names: cat, dog"):
        PersonDetector(folder, classes=["horse"])


def test_stages_warm_up_and_close_are_those_of_the_pose_detector(tmp_path: Path) -> None:
    detector = PersonDetector(detection_folder(tmp_path / "det"))
    stages: list[str] = []
    detector.on_stage = stages.append
    detector.warm_up()
    detector.detect(detector.read(IMAGE))
    assert stages == ["pre", "session", "post"]
    assert "CPU" in detector.effective_options["providers"]
    detector.close()
    with pytest.raises(BadInputError, match="closed"):
        detector.detect(IMAGE)


def top_down(folders: Any, _: Path) -> Path:
    return folders.make("simcc")  # type: ignore[no-any-return]


def of_other_task(_: Any, path: Path) -> Path:
    folder = detection_folder(path / "det")
    write_folder(folder, rtmdet_transforms(INPUT), task="Classifier", module="mmcls")
    return folder


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        (PoseDetector, lambda _, p: detection_folder(p / "det"),
         r"found a detection model.*\(Detector\); expected a pose model \(PoseDetector\).*"
         r"Give it as --detector"),
        (PersonDetector, top_down,
         r"given the boxes of people.*expected a detection model.*YOLOX-Pose or RTMO\. "
         r"Give it as the pose model"),
        (PoseDetector, of_other_task, "of the task Classifier; expected a pose model"),
        (PersonDetector, of_other_task, "of the task Classifier; expected a detection model"),
        (PersonDetector, lambda _, p: p / "nothing", "found nothing there"),
    ],
)  # fmt: skip
def test_a_folder_in_the_wrong_place_says_where_it_belongs(
    folders: Any, tmp_path: Path, kind: Any, make: Callable[[Any, Path], Path], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        kind(make(folders, tmp_path))
    if (tmp_path / "det").exists():  # in a zip, it is the same
        path = zipped(make(folders, tmp_path), tmp_path / "model.zip")
        with pytest.raises(BadInputError, match=message) as raised:
            kind(path)
        assert raised.value.subject == str(path)  # of the two models of a command


def test_validate_says_that_a_detection_folder_is_none_of_a_pose_model(tmp_path: Path) -> None:
    findings = [str(finding) for finding in validate(detection_folder(tmp_path / "det"))]
    assert any("found 'Detector'; expected 'PoseDetector'" in text for text in findings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.0}, "score_threshold=1"),
        ({"score_threshold": float("nan")}, "score_threshold=nan"),
        ({"nms_threshold": 0.0}, "nms_threshold=0"),
        ({"classes": ["person"]}, "numbers from 0: the model does not name its classes"),
        ({"classes": [-1]}, "numbers from 0"),
        ({"classes": []}, "None for people"),
        ({"family": "yolox"}, "its folder tells both"),
        ({"input_size": (64, 64)}, "its folder tells both"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        PersonDetector(detection_folder(tmp_path / "det"), **options)


def changed(folder: Path, **values: Any) -> Path:
    """The folder with other members of its post-processing task."""
    path = folder / "pipeline.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["pipeline"]["tasks"][2].update(values)
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"component": "SSDHead"}, "'SSDHead'; expected one of ResizeBBox, ResizeInstanceMask"),
        ({"params": {"score_thr": 2}}, r"params\.score_thr: found 2; expected a number from 0"),
        ({"params": {"min_bbox_size": "3"}}, "min_bbox_size: found '3'; expected a number"),
        ({"module": "mmpose"}, "component: found 'ResizeBBox'"),
    ],
)
def test_a_folder_that_cannot_be_honored_is_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        PersonDetector(changed(detection_folder(tmp_path / "det"), **values))


@pytest.mark.parametrize("label", [-1, 0.5])
def test_a_class_that_is_none_is_refused(tmp_path: Path, label: float) -> None:
    folder = detection_folder(tmp_path / "det")
    model = onnx.load(folder / "end2end.onnx")
    rows = next(i for i in model.graph.initializer if i.name == "labels/rows")
    labels = np.full(tuple(rows.dims), label, np.float32)  # client takes float labels as well
    rows.CopyFrom(onnx.numpy_helper.from_array(labels, "labels/rows"))
    output = next(o for o in model.graph.output if o.name == "labels")
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, folder / "end2end.onnx")
    with pytest.raises(BadInputError, match=f"a class of {label}"):
        PersonDetector(folder, classes=[0]).detect(IMAGE)
