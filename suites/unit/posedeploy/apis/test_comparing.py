"""The comparison with PyTorch: each side reads the file itself, and what was shown by it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image as Pillow

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.apis.comparing import (
    Compared,
    Comparison,
    compare_on,
    detector_of,
    sdk_keypoints,
)
from posedeploy.apis.deploying import Deployment
from posedeploy.apis.proving import Layers, Response, response
from posedeploy.apis.reference import Reference, keypoints_of, pytorch_keypoints
from posedeploy.apis.sources import default_weights
from posedeploy.config import class_count, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.runtime.shifts import judge_shift
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.reading import read_for
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import config_path, model_row

TURNED = {0x0112: 6}  # EXIF's tag Orientation: to be turned by 90 degrees
LOADS = {
    "turned, as by default": ("dict(type='LoadImage')", True),
    "not turned": ("dict(type='LoadImage', color_type='color_ignore_orientation')", False),
}


@pytest.fixture
def turned_photo(tmp_path: Path) -> Path:
    """A JPEG of 120x80 px that its EXIF turns to 80x120 px."""
    exif = Pillow.Exif()
    exif.update(TURNED)
    path = tmp_path / "turned.jpg"
    Pillow.fromarray(drawn(3, (120, 80)).image[..., ::-1]).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("case", LOADS)
def test_mmpose_reads_the_file_by_the_load_image_of_its_config(
    tiny_model: Callable[[str], TinyModel], turned_photo: Path, tmp_path: Path, case: str
) -> None:
    load, turns = LOADS[case]
    tiny, path = tiny_model("rtmpose_t"), tmp_path / "model.py"
    text = tiny.config.read_text().replace("dict(type='LoadImage')", load)
    path.write_text(text)
    config = load_model_config(path)
    model = build_model(config, tiny.checkpoint)
    stored = cv2.imread(str(turned_photo), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert stored is not None
    images = [np.asarray(stored, np.uint8), np.ascontiguousarray(np.rot90(stored, -1), np.uint8)]
    other, seen = images if turns else reversed(images)
    read = pytorch_keypoints(model, config, turned_photo)
    np.testing.assert_array_equal(read, pytorch_keypoints(model, config, seen))
    assert not np.array_equal(read, pytorch_keypoints(model, config, other))


@pytest.mark.parametrize("name", ["rtmpose_t", "yoloxpose_tiny/2"])
def test_pytorchs_side_is_what_mmposes_own_function_returns(
    tiny_model: Callable[[str], TinyModel], name: str
) -> None:
    tiny, image = tiny_model(name), drawn(3, (120, 160)).image
    config = load_model_config(tiny.config)
    model = build_model(config, tiny.checkpoint)
    from mmpose.apis import inference_bottomup, inference_topdown  # imports by what is installed

    infer = inference_bottomup if config.head_kind.bottom_up else inference_topdown
    (sample,) = infer(model, image)
    expected = keypoints_of(sample.pred_instances, class_count(config))
    assert len(expected)
    np.testing.assert_array_equal(pytorch_keypoints(model, config, image), expected)


def test_the_deployed_side_reads_the_file_or_takes_an_array(
    tiny_sdk: Callable[[str], Path], turned_photo: Path
) -> None:
    folder = tiny_sdk("rtmpose_t")
    image = read_for(read_folder(folder), turned_photo)
    assert image.shape == (120, 80, 3)
    found = sdk_keypoints(folder, turned_photo)
    np.testing.assert_array_equal(found, sdk_keypoints(folder, image))
    np.testing.assert_array_equal(found, sdk_keypoints(folder, str(turned_photo)))
    with pytest.raises(BadInputError, match="no such file"):
        sdk_keypoints(folder, turned_photo.with_name("nowhere.jpg"))


def compared(
    *, px: float = 0.0, people: int = 1, only_one: int = 0, decides: bool = True
) -> Compared:
    found, shift = np.zeros((people, 17, 3)), judge_shift("fp32", np.full((people, 17), px))
    return Compared(found, found, Comparison(people, only_one, shift), decides=decides)


NOBODY, FAR = compared(people=0), compared(px=5.0)
RIGHT, WRONG = Layers(43, 31.0, 36.0, ()), Layers(43, 9.0, 20.0, ("1 of 43 is noisy",))
# ---- modify this table to add an outcome -----------------------------------------------------
OUTCOMES: dict[str, tuple[dict[str, Any], str]] = {
    "one person": ({"compared": (compared(),)}, "same"),
    "one person in one of two images": ({"compared": (NOBODY, compared())}, "same"),
    "nobody": ({"compared": (NOBODY, NOBODY)}, "nothing"),
    "somebody whom one alone finds": (
        {"compared": (compared(people=0, only_one=1),)}, "different",
    ),
    "other keypoints": ({"compared": (compared(), FAR)}, "different"),
    "keypoints that are no numbers": ({"compared": (compared(px=math.nan),)}, "different"),
    "no numbers": ({"response": Response(("output: constant",))}, "different"),
    "no keypoint moves": (
        {"compared": (compared(),), "response": Response((), ("output: each",))}, "nothing",
    ),
    "other keypoints, and none moves": (
        {"compared": (FAR,), "response": Response((), ("output: each",))}, "different",
    ),
    "chance": ({"compared": (compared(px=5.0, decides=False),)}, "nothing"),
    "chance, and equal": ({"compared": (compared(decides=False),)}, "nothing"),
    "chance, and right layers": (
        {"compared": (compared(px=5.0, decides=False),), "layers": RIGHT}, "same",
    ),
    "the same, and wrong layers": ({"compared": (compared(),), "layers": WRONG}, "different"),
    "chance, and others on figures": (
        {"compared": (compared(decides=False), FAR), "layers": RIGHT}, "different",
    ),
}  # fmt: skip
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", OUTCOMES)
def test_what_a_comparison_has_shown(case: str) -> None:
    fields, outcome = OUTCOMES[case]
    done = Deployment(
        Path("sdk"), "onnxruntime", (), cast("Any", None), cast("Any", None), 0.0, **fields
    )
    assert done.outcome == outcome


@pytest.mark.parametrize(("name", "weights"), [
    ("rtmpose_t", ("trained", "trained", "trained")),
    ("hrnet_w32", ("calibrated", "calibrated", "fitted")),
    ("rtmpose_s", ("calibrated", "calibrated", "calibrated")),
])  # fmt: skip
def test_no_weights_named_are_the_best_that_a_model_has(
    name: str, weights: tuple[str, ...]
) -> None:
    config = load_model_config(config_path(model_row(name)))
    assert tuple(default_weights(config, p) for p in ("fp32", "fp16", "int8")) == weights


# what is added from bin to bin, the share of simcc_x that is left -> what is found
RAMPS = (
    (1.0, 0.0, Response(("simcc_x: the same for every image",))),
    (1e3, 1.0, Response((), ("simcc_x: each keypoint at the same place in every image",))),
    (0.0, 1.0, Response()),
)


def test_outputs_respond_or_they_do_not(tiny_sdk: Callable[[str], Path], tmp_path: Path) -> None:
    image = drawn(3, (120, 90)).image
    blank = np.full_like(image, 128)
    with detector_of(tiny_sdk("rtmpose_t")) as detector:
        assert response(detector, [image]) == Response()
        assert response(detector, [blank]).faults == ()  # the other images differ
    folder = tmp_path / "sdk"
    shutil.copytree(tiny_sdk("rtmpose_t"), folder)
    forget_checksums(folder)
    for added, share, found in RAMPS:
        model = onnx.load(tiny_sdk("rtmpose_t") / "end2end.onnx")
        add_ramp(model, added, share)
        onnx.save(model, folder / "end2end.onnx")
        with detector_of(folder) as detector:
            assert response(detector, [image]) == found


def add_ramp(model: Any, added: float, share: float) -> None:
    """Let simcc_x rise from bin to bin, on top of a share of what it was."""
    (output,) = (o for o in model.graph.output if o.name == "simcc_x")
    bins = output.type.tensor_type.shape.dim[2].dim_value
    ramp = added * np.arange(bins, dtype=np.float32)[None, None]
    for node in model.graph.node:
        node.output[:] = ["before" if name == "simcc_x" else name for name in node.output]
    for name, array in (("ramp", ramp), ("share", np.asarray(share, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for operator, reads, result in (
        ("Mul", ["before", "share"], "rest"), ("Add", ["rest", "ramp"], "simcc_x"),
    ):  # fmt: skip
        model.graph.node.append(onnx.helper.make_node(operator, reads, [result]))


def forget_checksums(folder: Path) -> None:
    detail = json.loads((folder / "detail.json").read_text())
    del detail["posedeploy"]["files"]
    (folder / "detail.json").write_text(json.dumps(detail))


def without_its_best(model: Any) -> None:
    """Let a detector's graph lose the first row of `dets`, as if nobody were in it."""
    for node in model.graph.node:
        node.output[:] = ["before" if name == "dets" else name for name in node.output]
    (output,) = (o for o in model.graph.output if o.name == "dets")
    mask = np.ones((1, output.type.tensor_type.shape.dim[1].dim_value, 1), np.float32)
    mask[:, 0] = 0
    model.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "mask"], ["dets"]))


def test_a_deployed_detector_that_loses_a_person_is_different(
    tiny_model: Callable[[str], TinyModel], tiny_sdk: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, image = tmp_path / "sdk", drawn(3, (120, 90)).image
    shutil.copytree(tiny_sdk("yoloxpose_tiny/2"), folder)
    forget_checksums(folder)
    graph = onnx.load(folder / "end2end.onnx")
    without_its_best(graph)
    onnx.save(graph, folder / "end2end.onnx")
    tiny = tiny_model("yoloxpose_tiny/2")
    config = load_model_config(tiny.config)
    model = build_model(config, tiny.checkpoint)
    found, reference = [], Reference(model, config, ("onnxruntime", "fp32"))
    for path in (tiny_sdk("yoloxpose_tiny/2"), folder):
        with detector_of(path) as detector:
            found.append(compare_on(detector, reference, image).distances)
            assert detector.most_people == 100
    assert found[0].same
    assert (found[1].people, found[1].only_one) == (found[0].people - 1, 1)
