"""Deploy configs of TensorRT: those of MMDeploy, their meaning, and their errors."""

from __future__ import annotations

import functools
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from poseconform.subject.loading import load_subject
from posedeploy.apis.exporting import export_spec
from posedeploy.config import DeployConfig, list_deploy_configs, load_deploy_config
from posedeploy.convert.tensorrt import (
    Profile,
    build_settings,
    check,
    graph_inputs,
    is_strongly_typed,
    read_timings,
    typed_graph,
    write_timings,
)
from posedeploy.errors import BadInputError, ConversionError
from suites.contract.tensorrt.graphs import write_foreign, write_network, write_suppression

# MMDeploy 1.3.1's configs for MMPose, and their content: precision, batches min, opt, max.
# All set a workspace of 1 GiB.
MMDEPLOY = {
    "rtmo_tensorrt-fp16_dynamic-640x640": ("fp16", (1, 1, 1)),
    "simcc_tensorrt-fp16_dynamic-256x192": ("fp16", (1, 2, 4)),
    "simcc_tensorrt_dynamic-256x192": ("fp32", (1, 2, 4)),
    "tensorrt-fp16_static-256x192": ("fp16", (1, 1, 1)),
    "tensorrt-int8_static-256x192": ("int8", (1, 1, 1)),
    "tensorrt_dynamic-256x192": ("fp32", (1, 2, 4)),
    "tensorrt_static-256x192": ("fp32", (1, 1, 1)),
    "tensorrt_static-256x256": ("fp32", (1, 1, 1)),
    "yolox-pose_tensorrt_dynamic-640x640": ("fp32", (1, 1, 1)),
}
# Their suppression: YOLOX-Pose's and RTMO's post_processing
SUPPRESSION = {
    "rtmo": {"pre_top_k": 2000, "keep_top_k": 50},
    "yolox-pose": {"pre_top_k": 5000, "keep_top_k": 100},
}
COMMON_SUPPRESSION = {
    "score_threshold": 0.05,
    "iou_threshold": 0.5,
    "max_output_boxes_per_class": 200,
    "background_label_id": -1,
}
OUTPUTS = {
    "": ["output"], "simcc": ["simcc_x", "simcc_y"],
    "rtmo": ["dets", "keypoints"], "yolox-pose": ["dets", "keypoints"],
}  # fmt: skip
OURS = [name for name in list_deploy_configs() if "_tensorrt" in name]


@functools.cache
def config(name: str) -> DeployConfig:
    return load_deploy_config(f"pose-detection_{name.removeprefix('pose-detection_')}")


@pytest.mark.parametrize("name", MMDEPLOY)
def test_mmdeploys_configs_mean_what_they_say(name: str) -> None:
    precision, batches = MMDEPLOY[name]
    found = config(name)
    height, width = (int(side) for side in name.rsplit("-", 1)[1].split("x"))
    settings = build_settings(found, {"input": ("batch", 3, height, width)}, True)
    assert (found.precision, settings.precision) == (precision, precision)
    assert settings.workspace == 1 << 30
    profile = settings.profiles["input"]
    assert profile == Profile(*((n, 3, height, width) for n in batches))
    assert found.dynamic_batch == ("dynamic" in name)
    onnx_config, variant = found.raw["onnx_config"], found.variant
    assert list(onnx_config["input_names"]) == ["input"]
    assert list(onnx_config["output_names"]) == OUTPUTS[variant]
    axes = {value: {0: "batch"} for value in ("input", *OUTPUTS[variant])}
    assert (onnx_config.get("dynamic_axes") or {}) == (axes if found.dynamic_batch else {})
    section = found.raw["codebase_config"].get("post_processing")
    more = SUPPRESSION.get(variant)
    assert section == (None if more is None else COMMON_SUPPRESSION | more)
    common = found.raw["backend_config"]["common_config"]
    assert bool(common["fp16_mode"]) == (precision in {"fp16", "int8"})
    assert bool(common.get("int8_mode")) == (precision == "int8")


@pytest.mark.parametrize("name", OURS)
def test_every_config_can_be_built_and_exported(name: str) -> None:
    found = config(name)
    assert found.input_shape is not None
    width, height = found.input_shape
    batch: int | str = "batch" if found.dynamic_batch else 1
    settings = build_settings(found, {"input": (batch, 3, height, width)}, False)
    assert bool(settings.profiles) == found.dynamic_batch
    asked = "nms" if "-nms" in name else "dense"
    assert export_spec(found)["stage"] == (asked if found.nms else "whole")
    if asked == "nms" and found.nms:
        assert found.nms.pre_top_k <= 3840


@pytest.mark.parametrize("variant", ["", "simcc", "yolox-pose", "rtmo"])
@pytest.mark.parametrize("precision", ["fp16", "fp32", "int8"])
def test_every_head_kind_has_flows_of_every_precision(variant: str, precision: str) -> None:
    found = [config(name) for name in OURS]
    assert any((c.variant, c.precision) == (variant, precision) for c in found)


def test_every_family_has_flows_of_every_precision() -> None:
    flows = [flow for flow in load_subject().flows() if flow.backend == "tensorrt"]
    for model in load_subject().models(["quick"]):
        modes = {(f.precision, f.shape_mode) for f in flows if f.fits(model)}
        assert {precision for precision, _ in modes} == {"fp16", "fp32", "int8"}, model.name
        assert ("fp32", "static") in modes, model.name


@pytest.mark.parametrize(
    ("version", "flags", "strong"),
    [("10.0.1", ["FP16", "TF32"], False), ("10.11.9", ["FP16", "TF32"], False),
     ("10.12.0", ["FP16", "TF32"], True), ("11.4.0", ["TF32"], True), ("10.5", ["TF32"], True)],
)  # fmt: skip
def test_types_decide_from_10_12_on_or_where_there_are_no_flags(
    version: str, flags: list[str], strong: bool
) -> None:
    assert is_strongly_typed(version, flags) is strong


@pytest.mark.parametrize(
    ("name", "flags"),
    [("tensorrt_static-256x192", ()), ("tensorrt-fp16_static-256x192", ("FP16",)),
     ("tensorrt-int8_static-256x192", ("INT8", "FP16"))],
)  # fmt: skip
def test_flags_are_for_versions_that_have_them(name: str, flags: tuple[str, ...]) -> None:
    inputs = {"input": (1, 3, 256, 192)}
    assert build_settings(config(name), inputs, False).flags == flags
    assert build_settings(config(name), inputs, True).flags == ()


def mine(tmp_path: Path, shapes: str, more: str = "") -> DeployConfig:
    path = tmp_path / "mine.py"
    path.write_text(
        "onnx_config = dict(type='onnx', input_names=['input'], output_names=['output'])\n"
        "codebase_config = dict(type='mmpose')\n"
        f"backend_config = dict(type='tensorrt', {more}"
        f"model_inputs=[dict(input_shapes=dict({shapes}))])\n"
    )
    return load_deploy_config(path)


def test_a_profile_that_is_left_open_takes_mmdeploys_batches(tmp_path: Path) -> None:
    settings = build_settings(mine(tmp_path, ""), {"input": ("batch", 3, 256, 192)}, True)
    assert settings.profiles["input"].max == (4, 3, 256, 192)
    assert settings.workspace == 0


SHAPE = "input=dict(min_shape=[1, 3, 256, 192], opt_shape={}, max_shape=[4, 3, 256, 192])"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ("input=dict(min_shape=[1, 3, 256, 192])", "no opt_shape, max_shape"),
        (SHAPE.format([8, 3, 256, 192]), "min <= opt <= max"),
        (SHAPE.format([2, 3, 512, 192]), "height and width are the model's"),
        (SHAPE.format([2, 256, 192]), "opt_shape [2, 256, 192]"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(tmp_path: Path, shapes: str, words: str) -> None:
    with pytest.raises(BadInputError) as caught:
        build_settings(mine(tmp_path, shapes), {"input": ("batch", 3, 256, 192)}, True)
    assert words in str(caught.value)
    assert "mine.py: backend_config.model_inputs: input" in caught.value.subject


def test_a_stage_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"backend_config\.stage: found 'end'; expected one of"
    ):
        export_spec(mine(tmp_path, "", "stage='end', "))


def test_a_graph_that_the_parser_would_refuse_is_refused_before_a_device_is_asked(
    tmp_path: Path,
) -> None:
    check(write_suppression(tmp_path / "fits.onnx", best=3840))
    with pytest.raises(ConversionError, match=r"topk1 takes the 3841 best.*3840 at most"):
        check(write_suppression(tmp_path / "large.onnx", best=3841))
    with pytest.raises(ConversionError, match=r"com\.microsoft, which would need a plugin"):
        check(write_foreign(tmp_path / "foreign.onnx"))
    model = onnx.load(tmp_path / "fits.onnx")
    model.opset_import[0].version = 21
    onnx.save(model, tmp_path / "new.onnx")
    with pytest.raises(ConversionError, match="opset 21; TensorRT reads 9 to 20"):
        check(tmp_path / "new.onnx")


def test_inputs_are_read_from_the_graph(tmp_path: Path) -> None:
    assert graph_inputs(write_network(tmp_path / "a.onnx")) == {"input": (1, 3, 16, 12)}
    dynamic = graph_inputs(write_network(tmp_path / "b.onnx", "batch"))
    assert dynamic == {"input": ("batch", 3, 16, 12)}


def test_fp32_and_legacy_fp16_take_the_graph_as_it_is(tmp_path: Path) -> None:
    ir = write_network(tmp_path / "ir.onnx")
    assert typed_graph(ir, config("tensorrt_static-256x192"), tmp_path) == (ir, {})
    fp16 = config("tensorrt-fp16_static-256x192")
    legacy, recipe = typed_graph(ir, fp16, tmp_path, strongly_typed=False)
    assert legacy == ir
    assert "builder flag" in recipe["name"]
    typed = onnx.load(typed_graph(ir, fp16, tmp_path)[0])
    kinds = {tensor.data_type for tensor in typed.graph.initializer}
    assert TensorProto.FLOAT16 in kinds
    ends = [*typed.graph.input, *typed.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}


def test_int8_without_images_is_refused(tmp_path: Path) -> None:
    ir = write_network(tmp_path / "ir.onnx")
    with pytest.raises(BadInputError, match="nothing to calibrate on"):
        typed_graph(ir, config("tensorrt-int8_static-256x192"), tmp_path)


def test_timings_are_put_in_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.timing"
    assert read_timings(path) == b""
    write_timings(path, b"")
    assert not path.exists()
    write_timings(path, b"1")
    write_timings(path, b"2")
    assert read_timings(path) == b"2"
    assert [p.name for p in path.parent.iterdir()] == ["b.timing"]


def test_weights_of_int8_are_symmetric(tmp_path: Path) -> None:
    """TensorRT takes no zero point but 0."""
    from suites.contract.tensorrt.scenarios import calibration

    ir = write_network(tmp_path / "ir.onnx")
    path, recipe = typed_graph(ir, config("tensorrt-int8_static-256x192"), tmp_path, calibration())
    graph = onnx.load(path).graph
    pairs = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    assert pairs
    for node in pairs:
        zero = values[node.input[2]]
        assert zero.dtype.name == "int8"
        assert not zero.any(), node.name
    assert recipe["quantized_layers"] >= 1
    assert recipe["calibration"]["count"] == 4
