"""Which converters there are, and what each starts from."""

from __future__ import annotations

import pytest

from posedeploy.config import list_deploy_configs, load_deploy_config
from posedeploy.convert import CONVERTERS, get_converter
from posedeploy.errors import BadInputError
from posedeploy.runtime import BACKENDS, backend_row, get_runtime

HAS_RECIPE = [name for name in list_deploy_configs()
              if load_deploy_config(name).backend in CONVERTERS]  # fmt: skip


def test_every_converter_has_a_runtime_and_every_row_its_module():
    assert set(CONVERTERS) <= {row.name for row in BACKENDS}
    for row in BACKENDS:
        assert callable(get_runtime(row.name).probe)


def test_backends_that_take_onnx_share_one_export():
    forms = {name: get_converter(name, "fp32").representation for name in CONVERTERS}
    assert forms["onnxruntime"] == forms["openvino"]
    assert forms["onnxruntime"].stage("rtmo") == "nms"
    assert forms["ncnn"].stage("yolox-pose") == "dense"
    assert forms["ncnn"].stage("rtmo") == "raw"
    assert forms["ncnn"].stage("simcc") == "nms"


@pytest.mark.parametrize(
    ("backend", "precision", "words"),
    [
        ("nothing", "fp32", "a backend that can be converted to: coreml, ncnn, "),
        ("torchscript", "int8", "a precision with a recipe: fp32"),
    ],
)
def test_what_has_no_recipe_is_an_error_that_lists_those_there_are(backend, precision, words):
    with pytest.raises(BadInputError, match=words):
        get_converter(backend, precision)


def test_an_unknown_backend_is_an_error_that_lists_those_there_are():
    with pytest.raises(KeyError, match="openvino"):
        backend_row("nothing")


# MMDeploy 1.3.1's configs for MMPose on these backends
MMDEPLOY = (
    "ncnn-int8_static-256x256", "ncnn_static-256x192", "ncnn_static-256x256",
    "openvino_static-256x192", "openvino_static-256x256",
    "simcc_ncnn-fp16_static-256x192", "simcc_ncnn_static-256x192",
    "simcc_openvino_static-256x192", "torchscript", "yolox-pose_openvino_dynamic-640x640",
)  # fmt: skip


@pytest.mark.parametrize("name", MMDEPLOY)
def test_every_name_of_mmdeploy_is_there(name):
    assert f"pose-detection_{name}" in list_deploy_configs()


@pytest.mark.parametrize("variant", ["", "simcc", "yolox-pose", "rtmo"])
@pytest.mark.parametrize(
    ("backend", "modes"),
    [
        ("ncnn", {"static"}),
        ("onnxruntime", {"static", "dynamic"}),
        ("openvino", {"static", "dynamic"}),
        ("torchscript", {"static", "dynamic"}),
    ],
)
def test_every_head_kind_has_fp32_flows(variant, backend, modes):
    configs = [load_deploy_config(name) for name in HAS_RECIPE]
    found = {
        config.shape_mode
        for config in configs
        if (config.variant, config.backend, config.precision) == (variant, backend, "fp32")
    }
    assert found == modes
