"""Which deploy config the words of a name make."""

from __future__ import annotations

import pytest

from posedeploy.config import list_deploy_configs, parse_name
from posedeploy.config.naming import IRREGULAR
from posedeploy.config.nearest import foreign_backend, nearest_name

P = "pose-detection"

# fmt: off
NEAREST = {
    f"{P}_rtmpose_onnxruntime_static":            f"{P}_simcc_onnxruntime_static",
    f"{P}_hrnet_onnxruntime_static":              f"{P}_onnxruntime_static",
    f"{P}_LiteHRNet_openvino_static-256x192":     f"{P}_openvino_static-256x192",
    f"{P}_RTMCCHead_ncnn_static":                 f"{P}_simcc_ncnn_static",
    f"{P}_yolox_pose_onnxruntime_static":         f"{P}_yolox-pose_onnxruntime_static",
    f"{P}_simcc_ort_dynamic":                     f"{P}_simcc_onnxruntime_dynamic",
    f"{P}_simcc_onnxruntime-fp32_dynamic":        f"{P}_simcc_onnxruntime_dynamic",
    f"{P}_simcc_onnxruntime_half_dynamic":        f"{P}_simcc_onnxruntime-fp16_dynamic",
    f"{P}_simcc_openvino_bfloat16_static":       f"{P}_simcc_openvino-bf16_static",
    f"{P}_simcc_trt-fp16_static_256x192":         f"{P}_simcc_tensorrt-fp16_static-256x192",
    f"{P}_simcc_openvno_static-384x288":          f"{P}_simcc_openvino_static-384x288",
    f"{P}_rtmo_tensorrt_nms_static-640x640":      f"{P}_rtmo_tensorrt-nms_static-640x640",
    "pose_detection_simcc_onnxruntime_dynamik.py": f"{P}_simcc_onnxruntime_dynamic",
    "simcc_onnxruntime":                          f"{P}_simcc_onnxruntime_dynamic",
    "onnxruntime_simcc":                          f"{P}_simcc_onnxruntime_dynamic",
    f"{P}_simcc_ncnn":                            f"{P}_simcc_ncnn_static",
    "rtmpose_t":                                  None,
    "notes":                                      None,
    "":                                           None,
    f"{P}_simcc_onnxruntime_openvino_static":     None,  # two backends
    f"{P}_simcc_torchscript-int8_static":         None,  # the backend has no int8
}
# fmt: on


@pytest.mark.parametrize("text", NEAREST)
def test_a_name_is_repaired_word_by_word(text: str) -> None:
    assert nearest_name(text) == NEAREST[text]


@pytest.mark.parametrize("name", [n for n in list_deploy_configs() if n not in IRREGULAR])
def test_a_right_name_is_its_own(name: str) -> None:
    assert nearest_name(name) == str(parse_name(name)) == name


@pytest.mark.parametrize(
    ("text", "backend"),
    [(f"{P}_simcc_rknn-fp16_static-256x192", "rknn"), (f"{P}_sdk_static-256x192", "sdk"),
     (f"{P}_snpe_static-256x256", "snpe"), (f"{P}_simcc_ncnn_static", None)],
)  # fmt: skip
def test_a_backend_that_only_mmdeploy_has(text: str, backend: str | None) -> None:
    assert foreign_backend(text) == backend
