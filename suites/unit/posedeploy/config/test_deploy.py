"""Deploy configs: MMDeploy's own files load, and what is wrong is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from posedeploy.config import find_deploy_config, load_deploy_config
from posedeploy.errors import BadInputError

# MMDeploy 1.3.1's fields, in files written here from its documented format.
BASE = """
onnx_config = dict(
    type='onnx', export_params=True, keep_initializers_as_inputs=False, opset_version=11,
    save_file='end2end.onnx', input_names=['input'], output_names=['output'],
    input_shape=None, optimize=True)
codebase_config = dict(type='mmpose', task='PoseDetection')
"""
TENSORRT = """
_base_ = ['./pose-detection_static.py', '../_base_/backends/tensorrt.py']
onnx_config = dict(input_shape=[192, 256],
                   dynamic_axes={'input': {0: 'batch'}, 'output': {0: 'batch'}})
backend_config = dict(
    common_config=dict(max_workspace_size=1 << 30),
    model_inputs=[dict(input_shapes=dict(input=dict(
        min_shape=[1, 3, 256, 192], opt_shape=[2, 3, 256, 192], max_shape=[4, 3, 256, 192])))])
"""
RTMO = """
_base_ = ['./pose-detection_static.py', '../_base_/backends/tensorrt.py']
onnx_config = dict(output_names=['dets', 'keypoints'],
                   dynamic_axes={n: {0: 'batch'} for n in ('input', 'dets', 'keypoints')})
codebase_config = dict(post_processing=dict(
    score_threshold=0.05, iou_threshold=0.5, max_output_boxes_per_class=200,
    pre_top_k=2000, keep_top_k=50, background_label_id=-1))
"""
BACKEND = "backend_config = dict(type='tensorrt', common_config=dict(fp16_mode=True))\n"


def mmdeploy_tree(root: Path) -> Path:
    folder = root / "mmpose"
    (root / "_base_" / "backends").mkdir(parents=True)
    folder.mkdir()
    (root / "_base_" / "backends" / "tensorrt.py").write_text(BACKEND)
    (folder / "pose-detection_static.py").write_text(BASE)
    (folder / "pose-detection_tensorrt-fp16_dynamic-256x192.py").write_text(TENSORRT)
    (folder / "pose-detection_rtmo_tensorrt-fp16_dynamic-640x640.py").write_text(RTMO)
    return folder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


def test_a_file_of_mmdeploy_loads(tmp_path: Path) -> None:
    path = mmdeploy_tree(tmp_path) / "pose-detection_tensorrt-fp16_dynamic-256x192.py"
    config = load_deploy_config(path)
    assert (config.backend, config.precision, config.opset) == ("tensorrt", "fp16", 11)
    assert config.input_shape == (192, 256)
    assert config.shape_mode == "dynamic"
    assert config.exporter == "torchscript"


def test_its_nms_settings_are_read(tmp_path: Path) -> None:
    path = mmdeploy_tree(tmp_path) / "pose-detection_rtmo_tensorrt-fp16_dynamic-640x640.py"
    config = load_deploy_config(path)
    assert config.variant == "rtmo"
    assert config.nms is not None
    assert (config.nms.pre_top_k, config.nms.keep_top_k) == (2000, 50)


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("dict(type='ncnn', precision='FP16')", "fp16"),
        ("dict(type='ncnn', precision='BF16')", "bf16"),
        ("dict(type='ncnn', precision='INT8')", "int8"),
        ("dict(type='onnxruntime', precision='fp16')", "fp16"),
        ("dict(type='tensorrt', common_config=dict(fp16_mode=True, int8_mode=True))", "int8"),
        ("dict(type='openvino')", "fp32"),
    ],
)
def test_every_way_to_write_a_precision_is_read(
    tmp_path: Path, backend: str, precision: str
) -> None:
    config = load_deploy_config(write(tmp_path, f"{BASE}backend_config = {backend}\n"))
    assert config.precision == precision
    assert config.inference_precision == ("bf16" if precision == "bf16" else "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(type='TopdownPoseEstimator')", "Is this a model config"),
        (BASE, "no backend_config"),
        (f"{BASE}backend_config = dict()", "backend_config.type"),
        (f"{BASE.replace('mmpose', 'mmdet')}{BACKEND}", "'mmpose'"),
        (f"{BASE.replace('=11', '=23')}{BACKEND}", "opset_version"),
        (f"{BASE.replace('input_shape=None', 'input_shape=[192]')}{BACKEND}", "[W, H]"),
        (f"{BASE.replace('optimize=True', 'exporter=1')}{BACKEND}", "exporter"),
        (f"{BASE}backend_config = dict(type='ncnn', precision='fp8')", "precision"),
        (f"{BASE}{BACKEND}codebase_config['post_processing'] = dict()", "score_threshold"),
        ("raise RuntimeError('boom')", "boom"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load_deploy_config(write(tmp_path, text))
    assert message in str(caught.value)
    assert "mine.py" in caught.value.subject


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="pose-detection_onnxruntime_static"):
        find_deploy_config("pose-detection_onnxruntim_static")


def test_something_else_than_python_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deploy.json"
    path.write_text("{}")
    with pytest.raises(BadInputError, match=r"\.json file"):
        load_deploy_config(path)


@pytest.mark.parametrize(
    "folder", ["configs/mmpose", "../mmdeploy/configs/mmpose", "/opt/configs/mmpose"]
)
@pytest.mark.parametrize(
    "name", ["pose-detection_simcc_onnxruntime_dynamic", "pose-detection_simcc_ncnn_static-96x64"]
)
def test_mmdeploys_paths_stand_for_the_names(folder: str, name: str) -> None:
    assert find_deploy_config(f"{folder}/{name}.py") == find_deploy_config(name)


def test_other_folders_do_not(tmp_path: Path) -> None:
    for folder in ("configs", "mmpose", "configs/mmdet"):
        with pytest.raises(BadInputError, match="Did you mean pose-detection_onnxruntime_static"):
            find_deploy_config(f"{folder}/pose-detection_onnxruntime_static.py")
