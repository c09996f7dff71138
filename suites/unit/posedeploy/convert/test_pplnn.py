"""Graphs for PPLNN: only operators that it has, and the numbers that they had before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from posedeploy.apis import comparing
from posedeploy.config import load_deploy_config
from posedeploy.convert import conversion_availability, get_converter
from posedeploy.convert.pplnn import KERNELS, interpolation, obstacles, rewrite
from posedeploy.errors import ConversionError

INT = np.int64


def model(
    nodes: list[Any],
    shape: list[int],
    outputs: dict[str, list[int]],
    constants: dict[str, Any] | None = None,
    opset: int = 13,
) -> Any:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("input", TensorProto.FLOAT, shape)],
        [value(name, TensorProto.FLOAT, sizes) for name, sizes in outputs.items()],
        [numpy_helper.from_array(np.array(v), n) for n, v in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(proto: Any, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    text = proto.SerializeToString()
    session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray[Any, Any]] = session.run(None, {"input": x})
    return found


def resize(where: str, mode: str = "linear") -> Any:
    node = helper.make_node(
        "Resize", ["input", "", "", "sizes"], ["output"], mode=mode,
        coordinate_transformation_mode=where,
    )  # fmt: skip
    return model([node], [1, 2, 3, 5], {"output": [1, 2, 6, 9]}, {"sizes": np.array([1, 2, 6, 9])})


def norm(keepdims: int) -> Any:
    node = helper.make_node("ReduceL2", ["input"], ["output"], axes=[-1], keepdims=keepdims)
    return model([node], [2, 3, 4], {"output": [2, 3, 1] if keepdims else [2, 3]})


def split(sizes: list[int] | None) -> Any:
    inputs = ["input", "sizes"] if sizes else ["input"]
    nodes = [helper.make_node("Split", inputs, ["a", "b"], axis=1)]
    first = sizes[0] if sizes else 3
    constants = {"sizes": np.array(sizes, INT)} if sizes else None
    return model(nodes, [1, 6, 2], {"a": [1, first, 2], "b": [1, 6 - first, 2]}, constants)


def squeezing() -> Any:
    nodes = [
        helper.make_node("Unsqueeze", ["input", "axes"], ["tall"]),
        helper.make_node("Relu", ["tall"], ["relu"]),
        helper.make_node("Squeeze", ["relu", "axes"], ["output"]),
    ]
    return model(nodes, [1, 4], {"output": [1, 4]}, {"axes": np.array([1], INT)})


def peaks(keepdims: int) -> Any:
    nodes = [
        helper.make_node("ArgMax", ["input"], ["place"], axis=-1, keepdims=keepdims),
        helper.make_node("Cast", ["place"], ["output"], to=onnx.TensorProto.FLOAT),
    ]
    return model(nodes, [1, 5, 9], {"output": [1, 5, 1] if keepdims else [1, 5]})


def flattening() -> Any:
    """What the exporter writes for `flatten(2)`, and a Split of what nobody knows the shape of."""
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two"], ["kept"]),
        helper.make_node("Concat", ["kept", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["input", "target"], ["flat"]),
        helper.make_node("Split", ["flat"], ["a", "b"], axis=2),
    ]
    constants = {
        "zero": np.array([0], INT),
        "two": np.array([2], INT),
        "rest": np.array([-1], INT),
    }
    return model(nodes, [1, 2, 2, 3], {"a": [1, 2, 3], "b": [1, 2, 3]}, constants)


@pytest.mark.parametrize(
    ("proto", "gone"),
    [
        (resize("align_corners"), "Resize"),
        (norm(0), "ReduceL2"),
        (norm(1), "ReduceL2"),
        (split(None), "Split"),
        (split([2, 4]), "Split"),
        (squeezing(), "Unsqueeze"),
        (flattening(), "Shape"),
        (peaks(0), "ArgMax"),
        (peaks(1), "ArgMax"),
    ],
    ids=[
        "resize",
        "norm",
        "norm, keepdims",
        "split",
        "split in parts",
        "squeeze",
        "flatten",
        "peak",
        "peak, keepdims",
    ],
)
def test_a_rewrite_keeps_the_numbers_and_leaves_no_obstacle(proto: Any, gone: str) -> None:
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    before = run(proto, x)
    rewrite(proto)
    onnx.checker.check_model(proto, full_check=True)
    assert gone not in {node.op_type for node in proto.graph.node}
    assert obstacles(proto) == []
    for ours, theirs in zip(run(proto, x), before, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    read = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= read


@pytest.mark.parametrize(("size", "target"), [(3, 6), (5, 5), (4, 1), (1, 3), (7, 2)])
def test_interpolation_is_torchs_with_aligned_corners(size: int, target: int) -> None:
    x = torch.arange(size, dtype=torch.float32).sin()
    expected = torch.nn.functional.interpolate(
        x[None, None], target, mode="linear", align_corners=True
    )
    np.testing.assert_allclose(
        interpolation(size, target) @ x.numpy(), expected[0, 0].numpy(), atol=1e-6
    )


def test_other_resizes_stay_as_they_are() -> None:
    proto = resize("pytorch_half_pixel")
    before = proto.SerializeToString()
    rewrite(proto)
    assert proto.SerializeToString() == before
    assert obstacles(proto) == []


def node(kind: str, domain: str = "", opset: int = 13) -> Any:
    made = helper.make_node(kind, ["input"], ["output"], domain=domain)
    return model([made], [1], {"output": [1]}, opset=opset)


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (node("Gelu", opset=20), "Gelu: no kernel"),
        (node("Abs", domain="mmdeploy"), "Abs of domain mmdeploy: no kernel"),
        (node("Relu", opset=17), "Relu: kernels for opset 6 to 16, the graph has 17"),
        (resize("align_corners", "cubic"), "Resize (cubic, align_corners): no kernel"),
        (
            resize("asymmetric", "nearest"),
            "Resize (nearest, asymmetric, round_prefer_floor): no kernel",
        ),
    ],
)
def test_what_would_stop_a_model_is_named(proto: Any, reason: str) -> None:
    assert obstacles(proto) == [reason]


def test_the_table_is_alphabetical_and_its_spans_are_spans() -> None:
    assert list(KERNELS) == sorted(KERNELS)
    assert all(1 <= first <= last for first, last in KERNELS.values())


CONFIG = load_deploy_config("pose-detection_pplnn_static-256x192")


def test_the_converter_writes_the_graph_and_says_what_it_declares(tmp_path: Path) -> None:
    onnx.save(split([2, 4]), tmp_path / "ir.onnx")
    out = tmp_path / "out"
    out.mkdir()
    converted = get_converter("pplnn", "fp32").convert(tmp_path / "ir.onnx", CONFIG, out)
    assert (converted.files, converted.precision) == (("end2end.onnx",), "fp32")
    assert converted.declared is not None
    assert [(o.name, o.shape) for o in converted.declared.outputs] == [
        ("a", (1, 2, 2)), ("b", (1, 4, 2)),
    ]  # fmt: skip
    assert {p.name for p in out.iterdir()} == {"end2end.onnx"}
    assert obstacles(onnx.load(out / "end2end.onnx")) == []


def test_what_it_cannot_rewrite_is_an_error_with_the_precise_reason(tmp_path: Path) -> None:
    onnx.save(node("Gelu", opset=20), tmp_path / "ir.onnx")
    with pytest.raises(ConversionError, match="found Gelu: no kernel; expected operators of PPL"):
        get_converter("pplnn", "fp32").convert(tmp_path / "ir.onnx", CONFIG, tmp_path)


def test_a_dynamic_batch_is_refused(tmp_path: Path) -> None:
    dynamic = dataclasses.replace(CONFIG, dynamic_batch=True)
    with pytest.raises(ConversionError, match="found a dynamic batch"):
        get_converter("pplnn", "fp32").convert(tmp_path / "ir.onnx", dynamic, tmp_path)


def test_converting_needs_nothing_of_pplnn() -> None:
    assert conversion_availability("pplnn").ok


@pytest.mark.parametrize(
    ("backend", "precision", "device"),
    [("pplnn", "fp32", "cpu"), ("pplnn", "fp16", "cuda"), ("tensorrt", "int8", "cuda"),
     ("onnxruntime", "fp16", "cpu")],
)  # fmt: skip
def test_keypoints_are_compared_on_the_device_that_computes_in_the_precision(
    monkeypatch: pytest.MonkeyPatch, backend: str, precision: str, device: str
) -> None:
    asked: list[str] = []

    class Detector:
        def __init__(self, _folder: Path, device: str, **_options: object) -> None:
            asked.append(device)

        def __enter__(self) -> SimpleNamespace:
            found = SimpleNamespace(keypoints=[[[1.0, 2.0, 0.5]]], labels=None)
            return SimpleNamespace(detect=lambda _image: found, read=lambda source: source)

        def __exit__(self, *_error: object) -> None:
            pass

    model = SimpleNamespace(model=SimpleNamespace(backend=backend), precision=precision)
    monkeypatch.setattr(comparing, "read_folder", lambda _folder: model)
    monkeypatch.setattr("posedeploy.sdk.PoseDetector", Detector)
    comparing.sdk_keypoints(Path("sdk"), np.zeros((4, 4, 3), np.uint8))
    assert asked == [device]
