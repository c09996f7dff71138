"""Conversion for ncnn: what pnnx writes is not believed before it was read and run."""

from __future__ import annotations

import dataclasses
import re
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from posedeploy.apis.deploying import check_ready
from posedeploy.config import DeployConfig, load_deploy_config, load_model_config
from posedeploy.convert import (
    Converted,
    Declared,
    conversion_availability,
    get_converter,
    missing_tools,
)
from posedeploy.convert.agreement import differences
from posedeploy.convert.ncnn import (
    check_layers,
    check_numbers,
    load_traced,
    named,
    run_pnnx,
    weight_precision,
)
from posedeploy.convert.ncnn_diagnosis import diagnose_float16
from posedeploy.errors import ConversionError, UnavailableError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import Availability, SessionOptions, TensorInfo, get_runtime
from posedeploy.runtime.processes import Limit
from posedeploy.runtime.torchscript import SIGNATURE, signature_text
from posedeploy.zoo.table import config_path, model_row

SHAPE = (1, 3, 8, 8)


class Small(nn.Module):
    """A convolution, something behind it, and two convolutions that undo the first one's scale."""

    def __init__(self, behind: str = "relu", scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 40, 3)
        self.unscale = nn.Sequential(
            nn.Conv2d(40, 9, 1, bias=False), nn.Conv2d(9, 4, 1, bias=False)
        )
        with torch.no_grad():
            self.conv.weight *= scale
            assert self.conv.bias is not None
            self.conv.bias *= scale
            self.unscale[0].weight /= scale**0.5
            self.unscale[1].weight /= scale**0.5
        self.behind, self.scaled = behind, scale != 1.0

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(x)
        if self.scaled:
            x = self.unscale(x)
        if self.behind == "slices":
            x = x[..., ::2, ::2]
        elif self.behind == "topk":
            x = x.flatten(2).topk(5, dim=2)[0]
        elif self.behind == "norm":
            x = torch.linalg.norm(x, dim=-1, keepdim=True)
        else:
            x = x.relu()
        return x, 2 * x


def trace(folder: Path, behind: str = "relu", batch: int | str = 1, scale: float = 1.0) -> Path:
    module, example = Small(behind, scale).eval(), torch.rand(SHAPE)
    outputs = module(example)
    inputs = (TensorInfo("input", (batch, *SHAPE[1:]), "float32"),)
    made = tuple(
        TensorInfo(name, tuple(out.shape), "float32")
        for name, out in zip(("one", "two"), outputs, strict=True)
    )
    traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    path = folder / "traced.pt"
    torch.jit.save(traced, str(path), _extra_files={SIGNATURE: signature_text(inputs, made)})
    return path


def config(precision: str = "fp32") -> DeployConfig:
    name = "pose-detection_ncnn_static-256x192"
    return dataclasses.replace(load_deploy_config(name), precision=precision)


def convert(
    folder: Path, behind: str = "relu", precision: str = "fp32", scale: float = 1.0
) -> Converted:
    (folder / "out").mkdir()
    ir = trace(folder, behind, scale=scale)
    return get_converter("ncnn", precision).convert(ir, config(precision), folder / "out")


# --- with the real program ----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_files_are_named_by_the_contract_and_compute_the_same(
    tmp_path: Path, precision: str
) -> None:
    pytest.importorskip("ncnn")
    converted = convert(tmp_path, precision=precision)
    assert converted.files == ("end2end.param", "end2end.bin")
    assert converted.precision == precision
    session = get_runtime("ncnn").load(
        [tmp_path / "out" / name for name in converted.files], "cpu", SessionOptions(precision)
    )
    assert converted.declared == Declared(session.inputs, session.outputs)
    assert session.inputs == (TensorInfo("input", SHAPE, "float32"),)
    assert {info.name for info in session.outputs} == {"one", "two"}
    image = torch.rand(SHAPE)
    expected = Small()(image)[0].detach().numpy()
    limit = 1e-5 if precision == "fp32" else 5e-3
    np.testing.assert_allclose(session.run({"input": image.numpy()})["one"], expected, atol=limit)


def test_bf16_converts_where_nothing_computes_in_it(tmp_path: Path) -> None:
    """Its files are those of fp32, whose numbers are checked in float32."""
    pytest.importorskip("ncnn")
    converted = convert(tmp_path, precision="bf16")
    files = [tmp_path / "out" / name for name in converted.files]
    assert (converted.precision, weight_precision(files[0], files[1])) == ("bf16", "fp32")
    assert converted.declared is not None
    assert converted.declared.inputs == (TensorInfo("input", SHAPE, "float32"),)
    assert {info.name for info in converted.declared.outputs} == {"one", "two"}


@pytest.mark.parametrize(
    ("behind", "layer"),
    [("slices", "Tensor.slice"), ("topk", "torch.topk"), ("norm", "aten::linalg_norm")],
)
def test_a_layer_that_ncnn_lacks_is_an_error_with_its_name(
    tmp_path: Path, behind: str, layer: str
) -> None:
    pytest.importorskip("ncnn")
    with pytest.raises(ConversionError, match="layers that ncnn lacks") as caught:
        convert(tmp_path, behind)
    assert layer in str(caught.value)
    assert caught.value.stage == "convert"


# --- without it ---------------------------------------------------------------------------------


def test_without_pnnx_the_tool_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pnnx", None)  # what the import system takes for absent
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="tool-missing") as caught:
        run_pnnx(trace(tmp_path), SHAPE, False, tmp_path)
    assert "pip install pnnx" in str(caught.value)


def fake_pnnx(folder: Path, script: str) -> str:
    path = folder / "fake-pnnx"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no memory; exit 3", "status 3: no memory"),
        ("exit 0", "status 0: nothing was printed"),
    ],
)
def test_a_program_that_fails_or_writes_nothing_is_an_error(
    tmp_path: Path, script: str, words: str
) -> None:
    program = fake_pnnx(tmp_path, script)
    with pytest.raises(ConversionError, match=words):
        run_pnnx(trace(tmp_path), SHAPE, False, tmp_path, program)


def test_a_program_that_does_not_end_is_an_error(tmp_path: Path) -> None:
    program, limit = fake_pnnx(tmp_path, "exec sleep 60"), Limit(60.0, idle=0.8)
    with pytest.raises(ConversionError, match="pnnx did not end: hang: no CPU used"):
        run_pnnx(trace(tmp_path), SHAPE, False, tmp_path, program, limit)


@pytest.mark.parametrize(("bytes_each", "precision"), [(4, "fp32"), (2, "fp16")])
def test_the_precision_of_a_transformer_is_read_from_its_file(
    tmp_path: Path, bytes_each: int, precision: str
) -> None:
    """ViTPose's weights are those of attention and Gemm layers."""
    param, weights = tmp_path / "end2end.param", tmp_path / "end2end.bin"
    param.write_text(
        "7767517\n3 3\nInput input 0 1 a 0=8 1=4\n"
        "MultiHeadAttention one 1 1 a b 0=8 1=2 2=64 3=8 4=8\n"
        "Gemm two 1 1 b c 2=0 3=1 4=0 5=1 6=1 7=4 8=16 9=8 10=4\n"
    )
    matrices, biases = 4 * 64 + 8 * 16 + 16, 4 * 8
    weights.write_bytes(bytes(matrices * bytes_each + biases * 4 + 6 * 4))  # 6 tags
    assert weight_precision(param, weights) == precision


def test_fp16_is_off_unless_asked_for(tmp_path: Path) -> None:
    program = fake_pnnx(tmp_path, 'echo "$@"; exit 1')
    with pytest.raises(ConversionError, match=r"inputshape=\[1,3,8,8\] fp16=0"):
        run_pnnx(trace(tmp_path), SHAPE, False, tmp_path, program)


PARAM = "7767517\n2 2\nInput in0 0 1 in0\nReLU relu 1 1 in0 out0\n"


@pytest.mark.parametrize(
    ("param", "log", "words"),
    [
        (PARAM.replace("ReLU", "torch.gather"), "", r"torch\.gather \(relu\)"),
        (PARAM, "slice with step 2 is not supported\n", "step 2 is not supported"),
        (PARAM, "reshape: unsupported dimension\n", "unsupported dimension"),
        (PARAM, "fine\nignore Tensor.to Tensor.to_1 param copy=False\n", "Tensor.to_1"),
    ],
)
def test_every_sign_of_a_failed_conversion_is_an_error(param: str, log: str, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        check_layers("traced.pt", param, log)


def test_a_good_conversion_is_accepted() -> None:
    check_layers("traced.pt", PARAM, "inline module = mmengine.ignored\nFLOPS = 7M\n")


def test_names_and_sizes_are_written_into_the_param_file() -> None:
    text = named(PARAM, "input", ["simcc_x"], (1, 3, 256, 192))
    assert text.splitlines()[2:] == [
        "Input in0 0 1 input 0=192 1=256 2=3",
        "ReLU relu 1 1 input simcc_x",
    ]


def test_a_dynamic_batch_is_refused(tmp_path: Path) -> None:
    ir = trace(tmp_path, batch="batch")
    with pytest.raises(ConversionError, match="one image at a time"):
        get_converter("ncnn", "fp32").convert(ir, config(), tmp_path)


def test_a_trace_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.jit.save(torch.jit.trace(nn.ReLU(), torch.rand(1)), str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(ConversionError, match=SIGNATURE):
        load_traced(path)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ({}, "nothing instead of shape"),
        ({"y": np.ones((1, 3), np.float32)}, "shape [1, 3] instead of"),
        ({"y": np.array([[1.0, 2.1]], np.float32)}, "off by 0.1"),
        ({"y": np.array([[1.0, np.nan]], np.float32)}, "off by nan"),
    ],
)
def test_numbers_that_differ_are_listed(got: dict[str, NDArray[Any]], words: str) -> None:
    (found,) = differences(got, {"y": np.array([[1.0, 2.0]], np.float32)}, 1e-3)
    assert words in found


def test_a_layer_converted_wrongly_is_caught_by_its_numbers(tmp_path: Path) -> None:
    """Pnnx writes some layers that ncnn has, and means something else by them."""
    pytest.importorskip("ncnn")
    convert(tmp_path)
    param = tmp_path / "out" / "end2end.param"
    text = param.read_text().replace("9=1", "9=0")  # the convolution loses its ReLU
    assert text != param.read_text()
    param.write_text(text)
    files = [param, param.with_suffix(".bin")]
    with pytest.raises(ConversionError, match="one: off by"):
        check_numbers(load_traced(tmp_path / "traced.pt"), files, "fp32", lambda: ("", ""))


@pytest.mark.parametrize(("scale", "found", "next_step"), [
    (1e-7, r"weights below 6.1e-05, which ncnn stores as 0 in float16: conv\w* \(100%\)",
     "scale these layers' weights up"),
    (1e7, r"weights above 65504, where float16 ends: conv\w* \(1.\d+e\+06\)", "Deploy it in fp32"),
])  # fmt: skip
def test_what_float16_cannot_hold_is_named(
    tmp_path: Path, scale: float, found: str, next_step: str
) -> None:
    pytest.importorskip("ncnn")
    with pytest.raises(ConversionError, match=found) as caught:
        convert(tmp_path, precision="fp16", scale=scale)
    assert next_step in caught.value.next_step
    assert "posedeploy/" not in str(caught.value)  # a user has no business in our source


def test_values_beyond_float16_are_named(tmp_path: Path) -> None:
    """A processor without float16 arithmetic computes them in float32, and does not fail."""
    pytest.importorskip("ncnn")
    convert(tmp_path, scale=3e5)
    files = (tmp_path / "out" / "end2end.param", tmp_path / "out" / "end2end.bin")
    inputs = CalibrationSet("ones", 1, lambda: iter([np.ones(SHAPE, np.float32)]))
    found, next_step = diagnose_float16(files, [], inputs)
    assert re.match(r"values above 65504, where float16 ends: \w+ \(\d\.\d+e\+05\)", found)
    assert "Deploy it in fp32" in next_step


def test_a_layer_that_is_wrong_in_float32_too_is_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    convert(tmp_path)
    files = (tmp_path / "out" / "end2end.param", tmp_path / "out" / "end2end.bin")
    inputs = CalibrationSet("zeros", 1, lambda: iter([np.zeros(SHAPE, np.float32)]))
    found, next_step = diagnose_float16(files, ["one: off by 3"], inputs)
    assert found == "in float32 too: one: off by 3"
    assert "another function" in next_step
    found, next_step = diagnose_float16(files, [], inputs)
    assert found.startswith("weights and values within float16's range")
    assert "too sensitive" in next_step


def test_files_that_ncnn_refuses_are_an_error(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    ir = load_traced(trace(tmp_path))
    (tmp_path / "x.param").write_text(PARAM.replace("ReLU", "NoSuchLayer"))
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(ConversionError, match="status"):
        check_numbers(ir, [tmp_path / "x.param", tmp_path / "x.bin"], "fp32", lambda: ("", ""))


def test_a_missing_program_is_an_error_before_any_work() -> None:
    pytest.importorskip("ncnn")

    def nothing(_name: str) -> bool:
        return False

    def probe(backend: str) -> Availability:
        return conversion_availability(backend, is_tool=nothing)

    assert missing_tools("ncnn", nothing) == ("pnnx",)
    assert missing_tools("onnxruntime", nothing) == missing_tools("no such backend") == ()
    model = load_model_config(config_path(model_row("rtmpose_t")))
    deploy_config = load_deploy_config("pose-detection_simcc_ncnn_static-256x192")
    with pytest.raises(UnavailableError, match="tool-missing: no pnnx"):
        check_ready(deploy_config, model, probe=probe)
    assert probe("ncnn").version
