"""What a detector's graph alone tells, and what has to be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx import save as save_onnx

from fixtures.detector_folders import dets_graph, in_input_px, yolox_graph
from posedeploy.errors import BadInputError
from posedeploy.sdk import PersonDetector
from posedeploy.sdk.bare_detectors import bare_detector, is_bare
from posedeploy.sdk.decode.boxes import is_decoded, priors
from posedeploy.sdk.transforms import compile_transforms

BOXES = [[10.0, 20, 100, 200]]


def graph(path: Path, shape: list[Any], **outputs: list[Any]) -> Path:
    """A graph that declares these shapes; nobody runs it."""
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    nodes = [helper.make_node("Identity", ["input"], [name]) for name in outputs]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    opset = [helper.make_opsetid("", 17)]
    save_onnx(helper.make_model(helper.make_graph(nodes, "g", [image], infos),
                                opset_imports=opset, ir_version=8), path)  # fmt: skip
    return path


SQUARE = [1, 3, 64, 64]  # 64 + 16 + 4 priors


@pytest.mark.parametrize(
    ("shape", "outputs", "options", "component", "size", "batch"),
    [
        (SQUARE, {"output": [1, 84, 85]}, {}, "YOLOXBoxes", (64, 64), 1),
        (["N", 3, 64, 96], {"o": ["N", "P", 6]}, {}, "YOLOXBoxes", (96, 64), 0),
        ([1, 64, 96, 3], {"o": [1, 126, 6]}, {}, "YOLOXBoxes", (96, 64), 1),
        (SQUARE, {"dets": [1, 100, 5], "labels": [1, 100]}, {"family": "rtmdet"},
         "ResizeBBox", (64, 64), 1),
        (["N", 3, "H", "W"], {"dets": ["N", "M", 5], "labels": ["N", "M"]},
         {"family": "yolox", "input_size": (96, 64)}, "ResizeBBox", (96, 64), 0),
        (SQUARE, {"boxes": [1, 100, 5], "classes": [1, 100]}, {"family": "rtmdet"},
         "ResizeBBox", (64, 64), 1),
        (SQUARE, {"boxes": [1, 100, 5]}, {"family": "yolox"}, "UnlabeledBoxes", (64, 64), 1),
    ],
)  # fmt: skip
def test_the_graph_tells(
    tmp_path: Path, shape: list[Any], outputs: dict[str, Any], options: dict[str, Any],
    component: str, size: tuple[int, int], batch: int,
) -> None:  # fmt: skip
    path = graph(tmp_path / "d.onnx", shape, **outputs)
    assert is_bare(path)
    model = bare_detector(path, **options)
    assert model.component == component
    assert compile_transforms(model.transforms).input_size == size
    assert model.model.dynamic_shape == (not batch)
    assert set(model.output_map.values()) == set(outputs)
    assert model.channels_last == (shape[-1] == 3)


POSE = {"dets": [1, 100, 5], "keypoints": [1, 100, 17, 3]}


@pytest.mark.parametrize(
    ("shape", "outputs", "options", "message"),
    [
        (SQUARE, {"dets": [1, 9, 5], "labels": [1, 9]}, {},
         "both YOLOX and RTMDet have.*Pass family='rtmdet' or 'yolox'"),
        (SQUARE, {"dets": [1, 9, 5]}, {"family": "ssd"}, "family: found 'ssd'; expected one of"),
        (SQUARE, POSE, {"family": "yolox"}, r"outputs dets .*keypoints .*the SDK model folder"),
        (SQUARE, {"simcc_x": [1, 17, 128], "simcc_y": [1, 17, 128]}, {}, "outputs simcc_x"),
        (SQUARE, {"output": [1, 25200, 85]}, {}, "here 84 priors"),  # of YOLOv5
        (SQUARE, {"output": [1, 84, 4]}, {}, "here 84 priors"),
        (SQUARE, {"output": [1, 84]}, {}, "here 84 priors"),
        (["N", 3, "H", "W"], {"o": ["N", "P", 85]}, {}, r"Pass input_size=\(width, height\)"),
        (SQUARE, {"o": [1, 84, 85]}, {"input_size": (32, 64)}, "Leave it out"),
        (["N", 3, "H", "W"], {"o": ["N", "P", 85]}, {"input_size": (8, 64)}, "sides from 32"),
        ([1, 1, 64, 64], {"o": [1, 84, 85]}, {}, "expected an image"),
        ([1, 3 * 64 * 64], {"o": [1, 84, 85]}, {}, "expected an image"),
    ],
)  # fmt: skip
def test_what_the_graph_does_not_tell_is_asked_for(
    tmp_path: Path, shape: list[Any], outputs: dict[str, Any], options: dict[str, Any],
    message: str,
) -> None:  # fmt: skip
    path = graph(tmp_path / "d.onnx", shape, **outputs)
    with pytest.raises(BadInputError, match=message):
        PersonDetector(path, **options)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "yolox.onnx"
    path.write_text("<html>404</html>", encoding="utf-8")
    with pytest.raises(BadInputError, match="no ONNX graph"):
        PersonDetector(path)


def test_a_link_to_a_graph_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    there = yolox_graph(tmp_path / "blobs" / "yolox.onnx", BOXES, [0.9], [0])
    link = tmp_path / "detector.onnx"
    link.symlink_to(there)
    assert len(PersonDetector(link).detect(np.zeros((320, 320, 3), np.uint8))) == 1
    link.unlink()
    link.symlink_to(there.rename(tmp_path / "blobs" / "5d41402a"))
    with pytest.raises(BadInputError, match=r"a link to 5d41402a.*Copy the file"):
        PersonDetector(link)


def test_a_file_in_a_folder_is_not_bare(tmp_path: Path) -> None:
    path = yolox_graph(tmp_path / "end2end.onnx", BOXES, [0.9], [0])
    assert is_bare(path)
    (tmp_path / "deploy.json").write_text("{}", encoding="utf-8")
    assert not is_bare(path)


@pytest.mark.parametrize(
    ("family", "shown", "padded"),
    [  # (value - mean) / std for B, G, R: the means and deviations of ImageNet, and none
        ("rtmdet", [-1.63015, -1.68557, -1.60416], [0.182484, -0.039916, -0.165682]),
        ("yolox", [10, 20, 30], [114, 114, 114]),
    ],
)
def test_each_family_sees_the_image_in_its_own_numbers(
    tmp_path: Path, family: str, shown: list[float], padded: list[float]
) -> None:
    """As rtmlib 0.0.16 normalizes: BGR, gray to the right and below."""
    path = dets_graph(tmp_path / "d.onnx", BOXES, [0.9], [0], size=(64, 96))
    pre = compile_transforms(bare_detector(path, family).transforms)
    image = np.full((30, 40, 3), (10, 20, 30), np.uint8)
    tensor = pre.tensor(pre.regions(image, None))[0]
    np.testing.assert_allclose(tensor[:, 0, 0], shown, rtol=1e-4)
    np.testing.assert_allclose(tensor[:, -1, -1], padded, rtol=1e-4)
    assert (tensor[:, 47, 63] == tensor[:, 0, 0]).all()  # 40x30 px fit in as 64x48
    assert (tensor[:, 48, 0] == tensor[:, -1, -1]).all()


@pytest.mark.parametrize("size", [(64, 96), (416, 416), (640, 640)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_numbers_tell_whether_centers_are_decoded(size: tuple[int, int], spread: float) -> None:
    rng = np.random.default_rng(7)
    cells, strides = priors(size)
    raw = (0.5 + spread * rng.standard_normal((2, *cells.shape))).astype(np.float32)
    assert not is_decoded(raw, cells, strides)
    assert is_decoded((raw + cells) * strides, cells, strides)


def test_decoded_and_raw_graphs_give_the_same_boxes(tmp_path: Path) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    placed = in_input_px(BOXES, (300, 200), (320, 320))
    found = [
        PersonDetector(yolox_graph(tmp_path / "y.onnx", placed, [0.9], [0], decoded=d)).detect(
            image
        )
        for d in (False, True)
    ]
    np.testing.assert_allclose(found[0].boxes, found[1].boxes, atol=1e-3)
    np.testing.assert_allclose(found[0].boxes, BOXES, atol=1e-3)
