"""The documented Python API on small models: configs, inputs, backend models, drawings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import posedeploy
from fixtures.tiny_models import TinyModel
from posedeploy.apis import inference_model
from posedeploy.apis.backend_model import build_backend_model
from posedeploy.apis.task_processor import PoseDetection, show_window
from posedeploy.apis.utils import build_task_processor
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.runtime import Availability, Code
from posedeploy.runtime.onnxruntime import OnnxRuntime
from posedeploy.utils import get_input_shape, load_config

SIMCC_STATIC = "pose-detection_simcc_onnxruntime_static"
SIMCC_DYNAMIC = "pose-detection_simcc_onnxruntime_dynamic"
YOLOX = "pose-detection_yolox-pose_onnxruntime_dynamic"
TWO_CLASSES = "pose-detection_yolox-pose_onnxruntime_static"
MODELS = {
    SIMCC_STATIC: "rtmpose_t", SIMCC_DYNAMIC: "rtmpose_t", YOLOX: "yoloxpose_tiny",
    TWO_CLASSES: "yoloxpose_tiny/2",
}  # fmt: skip
ALL = -1e9  # a random network's scores may be below 0
Tiny = Callable[[str], TinyModel]


def photograph(seed: int = 0, size: tuple[int, int] = (120, 90)) -> np.ndarray:
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def folders(tiny_model: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for config, name in MODELS.items():
        model, folder = tiny_model(name), tmp_path_factory.mktemp("sdk") / config
        posedeploy.deploy(config, model.config, model.checkpoint, folder)
        made[config] = folder
    return made


def processor_of(config: str, tiny_model: Tiny) -> tuple[PoseDetection, TinyModel]:
    model = tiny_model(MODELS[config])
    return build_task_processor(model.config, config, "cpu"), model


def test_load_config_takes_paths_names_and_configs() -> None:
    by_name, by_place, model = load_config(
        SIMCC_STATIC, f"configs/mmpose/{SIMCC_STATIC}.py", "rtmpose_t"
    )
    assert by_name.to_dict() == by_place.to_dict()
    assert model.model.head.type == "RTMCCHead"
    shipped = load_config("td-hm_hrnet-w32_8xb64-210e_coco-256x192.py")[0]
    assert shipped.model.backbone.type == "HRNet"
    assert load_config(shipped) == [shipped]


def test_a_file_that_is_there_comes_before_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/mmpose") / f"{SIMCC_STATIC}.py"
    own.parent.mkdir(parents=True)
    own.write_text("mine = True")
    assert load_config(str(own))[0].mine is True


@pytest.mark.parametrize(
    "name", ["nothing", "configs/mmdet/pose-detection_onnxruntime_static.py", "a/rtmpose_t"]
)
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="no such file and no such name"):
        load_config(name)


def test_get_input_shape() -> None:
    assert get_input_shape("pose-detection_simcc_openvino_static-256x192") == [192, 256]
    assert get_input_shape(load_config(SIMCC_STATIC)[0]) is None


def test_a_changed_config_is_what_counts(tiny_model: Tiny) -> None:
    deploy_cfg, model_cfg = load_config(SIMCC_STATIC, tiny_model("rtmpose_t").config)
    deploy_cfg.onnx_config.input_shape = [100, 200]
    with pytest.raises(BadInputError, match=r"found \[100, 200\] \(W, H\); expected \[64, 96\]"):
        build_task_processor(model_cfg, deploy_cfg, "cpu")


def test_a_device_that_the_backend_has_not(tiny_model: Tiny) -> None:
    openvino = "pose-detection_simcc_openvino_dynamic"
    with pytest.raises(BadInputError, match="a device of openvino: cpu"):
        build_task_processor(tiny_model("rtmpose_t").config, openvino, "cuda")


@pytest.mark.parametrize("config", [SIMCC_STATIC, YOLOX])
def test_inference_model_is_the_documented_steps_in_one(
    config: str, folders: dict[str, Path], tiny_model: Tiny
) -> None:
    processor, files = processor_of(config, tiny_model)
    graph = folders[config] / "end2end.onnx"
    image = photograph(1, (70, 110))
    with torch.no_grad():
        model = processor.build_backend_model(graph)
        expected = model.test_step(processor.create_input(image)[0])[0]
    for given in (graph, [str(graph)]):
        found = inference_model(str(files.config), config, given, image, "cpu")
        assert len(found) == 1
        assert_equal(found[0].pred_instances, expected.pred_instances)


@pytest.mark.parametrize("config", MODELS)
def test_backend_and_pytorch_give_equal_samples(
    config: str, folders: dict[str, Path], tiny_model: Tiny
) -> None:
    processor, files = processor_of(config, tiny_model)
    backend = processor.build_backend_model([folders[config] / "end2end.onnx"])
    pytorch = processor.build_pytorch_model(files.checkpoint)
    images = [photograph(0), photograph(1, (70, 110)), photograph(2)]
    found = backend.test_step(processor.create_input(images)[0])
    with torch.no_grad():
        expected = pytorch.test_step(processor.create_input(images)[0])
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert_equal(ours.pred_instances, theirs.pred_instances)


def assert_equal(ours: Any, theirs: Any) -> None:
    assert set(ours.keys()) == set(theirs.keys())
    people = min(len(theirs), 100)  # a graph keeps keep_top_k people, best first
    assert len(ours) == people >= 1
    for name in theirs.keys():  # noqa: SIM118 - InstanceData iterates over people
        assert ours[name].shape[1:] == theirs[name].shape[1:], name
        np.testing.assert_allclose(ours[name], theirs[name][:people], atol=2e-2, err_msg=name)


def test_without_json_files_the_configs_decide_how_to_decode(
    folders: dict[str, Path], tiny_model: Tiny, tmp_path: Path
) -> None:
    processor, _ = processor_of(YOLOX, tiny_model)
    bare = tmp_path / "end2end.onnx"
    bare.write_bytes((folders[YOLOX] / "end2end.onnx").read_bytes())
    data = processor.create_input(photograph())[0]
    found = processor.build_backend_model(str(bare)).test_step(data)[0]
    data = processor.create_input(photograph())[0]
    whole = processor.build_backend_model(folders[YOLOX] / "end2end.onnx").test_step(data)[0]
    np.testing.assert_array_equal(found.pred_instances.keypoints, whole.pred_instances.keypoints)


def test_boxes_of_one_image(folders: dict[str, Path], tiny_model: Tiny) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    model = processor.build_backend_model([folders[SIMCC_STATIC] / "end2end.onnx"])
    boxes = [[0, 0, 60, 80], [40, 10, 110, 90]]
    found = model.test_step(processor.create_input(photograph(), bboxes=boxes)[0])
    assert [s.pred_instances.bboxes.tolist() for s in found] == [[b] for b in boxes]
    assert (found[0].pred_instances.keypoints != found[1].pred_instances.keypoints).any()


def test_create_input_for_forward(folders: dict[str, Path], tiny_model: Tiny) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    model = processor.build_backend_model([folders[SIMCC_STATIC] / "end2end.onnx"])
    data: Any
    tensor: Any  # a model's data_preprocessor makes one tensor of the list
    data, tensor = processor.create_input(photograph(), [64, 96], model.data_preprocessor)
    assert tuple(tensor.shape) == (1, 3, 96, 64)
    found = model(**data, mode="predict")[0]
    again = model.test_step(processor.create_input(photograph())[0])[0]
    np.testing.assert_array_equal(found.pred_instances.keypoints, again.pred_instances.keypoints)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"imgs": "nowhere.jpg"}, "no such file"),
        ({"imgs": __file__}, "OpenCV cannot read"),
        ({"imgs": np.zeros((4, 4), np.uint8)}, r"expected a uint8 array \[H, W, 3\]"),
        ({"imgs": []}, "found none; expected at least one"),
        ({"imgs": [photograph()], "input_shape": [64, 64]}, r"\[64, 64\] .* expected \[64, 96\]"),
        ({"imgs": [photograph()] * 2, "bboxes": [0, 0, 9, 9]}, "takes one image"),
        ({"imgs": photograph(), "bboxes": [0, 0, 9]}, "boxes"),
    ],
)
def test_create_input_refuses(arguments: Any, message: str, tiny_model: Tiny) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    with pytest.raises(BadInputError, match=message):
        processor.create_input(**arguments)


def test_a_detector_takes_no_boxes(tiny_model: Tiny) -> None:
    processor, _ = processor_of(YOLOX, tiny_model)
    with pytest.raises(BadInputError, match="finds people itself"):
        processor.create_input(photograph(), bboxes=[0, 0, 9, 9])


def test_build_backend_model_refuses(
    folders: dict[str, Path], tiny_model: Tiny, tmp_path: Path
) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    with pytest.raises(BadInputError, match="no such file"):
        processor.build_backend_model(["nothing.onnx"])
    broken = tmp_path / "end2end.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(BadInputError, match="files that onnxruntime can load"):
        processor.build_backend_model([broken])
    with pytest.raises(BadInputError, match="outputs dets, keypoints; expected one with simcc_x"):
        processor.build_backend_model([folders[YOLOX] / "end2end.onnx"])


class NotInstalled(OnnxRuntime):
    """ONNX Runtime where it is not installed."""

    def probe(self) -> Availability:
        return Availability(Code.NOT_INSTALLED, "no such package")


def test_a_backend_that_is_not_installed_is_unavailable(
    folders: dict[str, Path], tiny_model: Tiny
) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    configs = processor.model_config, processor.deploy_config
    with pytest.raises(UnavailableError, match="not-installed: no such package"):
        build_backend_model(
            *configs, [folders[SIMCC_STATIC] / "end2end.onnx"], "cpu", NotInstalled()
        )


def test_a_checkpoint_that_is_not_there(tiny_model: Tiny) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    with pytest.raises(BadInputError, match="no such file"):
        processor.build_pytorch_model("nothing.pth")


def test_visualize(folders: dict[str, Path], tiny_model: Tiny, tmp_path: Path) -> None:
    processor, _ = processor_of(SIMCC_STATIC, tiny_model)
    model = processor.build_backend_model([folders[SIMCC_STATIC] / "end2end.onnx"])
    image = photograph(size=(100, 150))  # the padded crop's borders are less of it
    result = model.test_step(processor.create_input(image)[0])
    file = tmp_path / "made" / "output.png"
    drawing = processor.visualize(
        image=image,
        model=model,
        result=result[0],
        window_name="w",
        output_file=file,
        min_score=ALL,
    )
    assert (drawing != image).any()
    np.testing.assert_array_equal(cv2.imread(str(file)), drawing)
    np.testing.assert_array_equal(processor.visualize(image, result, min_score=ALL), drawing)
    assert (processor.visualize(image, result, min_score=1e9) == image).all()
    assert processor.visualize(image, result, output_file="").shape == image.shape
    with pytest.raises(BadInputError, match="without pred_instances"):
        processor.visualize(image, processor.create_input(image)[0]["data_samples"][0])
    with pytest.raises(BadInputError, match="output_file"):
        processor.visualize(image, result, output_file=file / "output.png")
    with pytest.raises(BadInputError, match=r"cannot write \.unheard-of"):
        processor.visualize(image, result, output_file=tmp_path / "output.unheard-of")
    shown: list[str] = []
    showing = PoseDetection(
        processor.model_config, processor.deploy_config, "cpu",
        show=lambda _image, title: shown.append(title),
    )  # fmt: skip
    showing.visualize(image, result, show_result=True)
    assert shown == ["posedeploy"]


def test_no_window_without_a_display() -> None:
    with pytest.raises(UnavailableError, match=r"show_result: .* Use output_file instead"):
        show_window(photograph(), "title", reason="no display")
