"""Which converters there are, and what each starts from."""

from __future__ import annotations

import importlib.util

import pytest

from posedeploy.config import list_deploy_configs, load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.errors import BadInputError
from posedeploy.export.representations import FORMS
from posedeploy.heads import head_of_kind
from posedeploy.runtime import BACKENDS, BackendSpec, backend_row, get_runtime


@pytest.mark.parametrize("row", BACKENDS, ids=lambda row: row.name)
def test_every_row_has_a_runtime_and_a_converter(row: BackendSpec) -> None:
    assert callable(get_runtime(row.name).probe)
    assert importlib.util.find_spec(row.converter) is not None
    assert row.form in FORMS
    assert {device for _, device in row.bound} <= set(row.devices)


def test_the_stage_of_a_graph_is_what_the_backend_holds_and_the_head_decodes() -> None:
    names = ("heatmap", "simcc", "yolox-pose", "rtmo")
    found = {
        row.name: [head_of_kind(name).stage_for(row.stages).name for name in names]
        for row in BACKENDS
    }
    assert found["onnxruntime"] == found["openvino"] == ["whole", "whole", "nms", "nms"]
    assert found["mnn"] == found["ncnn"] == found["pplnn"] == ["whole", "whole", "dense", "raw"]
    assert found["tensorrt"] == found["coreml"] == ["whole", "whole", "dense", "dense"]


@pytest.mark.parametrize(
    ("backend", "precision", "words"),
    [
        ("nothing", "fp32", "a backend that can be converted to: coreml, "),
        ("torchscript", "int8", "a precision with a recipe: fp32"),
    ],
)
def test_what_has_no_recipe_is_an_error_that_lists_those_there_are(
    backend: str, precision: str, words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        get_converter(backend, precision)


def test_an_unknown_backend_is_an_error_that_lists_those_there_are() -> None:
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
def test_every_name_of_mmdeploy_is_there(name: str) -> None:
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
def test_every_head_kind_has_fp32_flows(variant: str, backend: str, modes: set[str]) -> None:
    configs = [load_deploy_config(name) for name in list_deploy_configs()]
    found = {
        config.shape_mode
        for config in configs
        if (config.variant, config.backend, config.precision) == (variant, backend, "fp32")
    }
    assert found == modes
