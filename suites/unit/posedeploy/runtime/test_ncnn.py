"""The ncnn runtime on a `.param` file written by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posedeploy.runtime import (
    Code,
    PrecisionError,
    Session,
    SessionOptions,
    TensorInfo,
    get_runtime,
)
from posedeploy.runtime.host import Host
from posedeploy.runtime.ncnn import Ncnn, foreign_type, read_inputs, what_is_wrong

pytest.importorskip("ncnn")

# relu and its negative: width, height and channels of the input are 4, 3 and 2
PARAM = """7767517
4 5
Input in 0 1 input {sizes}
Split split 1 2 input a b
ReLU relu 1 1 a positive
UnaryOp neg 1 1 b negative 0=1
"""


def write(folder: Path, param: str = PARAM, sizes: str = "0=4 1=3 2=2") -> list[Path]:
    files = [folder / "end2end.param", folder / "end2end.bin"]
    files[0].write_text(param.format(sizes=sizes) if "{sizes}" in param else param)
    files[1].write_bytes(b"")
    return files


def load(files: list[Path], precision: str = "fp32", **options: Any) -> Session:
    return get_runtime("ncnn").load(files, "cpu", SessionOptions(precision, **options))


def test_shapes_come_from_the_input_layer_and_a_run(tmp_path: Path) -> None:
    session = load(write(tmp_path))
    assert session.inputs == (TensorInfo("input", (1, 2, 3, 4), "float32"),)
    assert {info.name: info.shape for info in session.outputs} == {
        "positive": (1, 2, 3, 4), "negative": (1, 2, 3, 4),
    }  # fmt: skip


def test_numbers(tmp_path: Path) -> None:
    session = load(write(tmp_path))
    image = np.random.default_rng(0).standard_normal((1, 2, 3, 4)).astype(np.float32)
    found = session.run({"input": image})
    np.testing.assert_array_equal(found["positive"], image.clip(0))
    np.testing.assert_array_equal(found["negative"], -image)


def test_a_file_without_sizes_runs_and_tells_no_shapes(tmp_path: Path) -> None:
    session = load(write(tmp_path, sizes=""))
    assert session.inputs[0].shape == ()
    assert session.outputs[0].shape == ()
    found = session.run({"input": np.ones((1, 2, 5, 7), np.float32)})
    assert found["positive"].shape == (1, 2, 5, 7)


def test_more_than_one_image_is_refused(tmp_path: Path) -> None:
    session = load(write(tmp_path))
    with pytest.raises(RuntimeError, match="one image at a time"):
        session.run({"input": np.ones((2, 2, 3, 4), np.float32)})


def test_an_input_that_is_not_there_is_refused(tmp_path: Path) -> None:
    session = load(write(tmp_path))
    with pytest.raises(RuntimeError, match="refused input 'image'"):
        session.run({"image": np.ones((1, 2, 3, 4), np.float32)})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_every_switch_of_a_precision_is_set(tmp_path: Path, precision: str) -> None:
    runtime = Ncnn(Host(cpu_flags=lambda: frozenset({"avx512_bf16"})))
    session = runtime.load(write(tmp_path), "cpu", SessionOptions(precision))
    assert session.effective_options == {
        "inference_precision": precision, "num_threads": "1", "winograd": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"avx2", "avx512f"}, "would emulate bf16: it has none of avx512_bf16, avx_ne_convert, "),
        ({"asimd"}, "it has none of avx512_bf16, avx_ne_convert, bf16"),
        (None, "may emulate bf16: the system does not list its features in /proc/cpuinfo"),
    ],
)
def test_bf16_is_unavailable_where_the_cpu_would_emulate_it(
    tmp_path: Path, flags: set[str] | None, words: str
) -> None:
    runtime = Ncnn(Host(cpu_flags=lambda: None if flags is None else frozenset(flags)))
    found = runtime.probe_inference_precision("bf16")
    assert found.code is Code.NO_DEVICE
    assert words in found.reason
    assert found.version
    with pytest.raises(PrecisionError, match=re.escape(words)):
        runtime.load(write(tmp_path), "cpu", SessionOptions("bf16"))
    assert runtime.load(write(tmp_path), "cpu", SessionOptions("fp16")).inputs


@pytest.mark.parametrize("flag", ["avx512_bf16", "avx_ne_convert", "bf16"])
def test_one_set_of_instructions_for_bf16_is_enough(flag: str) -> None:
    def run(_code: str, _seconds: float) -> tuple[int, str]:
        return 0, ""

    runtime = Ncnn(Host(run=run, cpu_flags=lambda: frozenset({"fma", flag})))
    assert runtime.probe_inference_precision("bf16").ok


def test_a_layer_that_ncnn_lacks_is_named(tmp_path: Path) -> None:
    files = write(tmp_path, PARAM.replace("ReLU", "Tensor.slice"))
    with pytest.raises(RuntimeError, match=r"layers that ncnn lacks: Tensor\.slice"):
        load(files)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no .param file"), ("{}", "no .param file"), ("7767517\n1 1\nInput in\n", "damaged")],
)
def test_what_is_no_param_file_is_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.param").write_text(text)
    assert words in what_is_wrong(tmp_path / "x.param")


@pytest.mark.parametrize(
    ("device", "precision", "words"),
    [("cuda", "fp32", "'cuda' is not one of"), ("cpu", "int4", "'int4' is not one of")],
)
def test_what_it_cannot_do_is_refused_by_name(
    tmp_path: Path, device: str, precision: str, words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        get_runtime("ncnn").load(write(tmp_path), device, SessionOptions(precision=precision))


def test_inputs_are_read_from_the_text(tmp_path: Path) -> None:
    files = write(tmp_path)
    assert read_inputs(files[0])[0].shape == (1, 2, 3, 4)
    files = write(tmp_path, sizes="0=4 1=3")
    assert read_inputs(files[0])[0].shape == ()


def test_names_with_dots_or_colons_are_foreign() -> None:
    assert [foreign_type(n) for n in ("ReLU", "torch.topk", "aten::erfinv")] == [False, True, True]


@pytest.mark.parametrize(
    "sizes",
    [
        "0=100000 1=100000 2=100000", "0=8192 1=8192 2=8192", f"0={'9' * 5000} 1=3 2=2",
        "0=0 1=3 2=2",
    ],
)  # fmt: skip
def test_an_input_that_nobody_can_hold_is_refused_before_it_is_allocated(
    tmp_path: Path, sizes: str
) -> None:
    with pytest.raises(RuntimeError, match=r"'input' .*; expected sizes from 1, .* MiB"):
        load(write(tmp_path, sizes=sizes))


@pytest.mark.parametrize("line", ["Input", "Input in 0 1", "Input in 0 1 input 0=\u00b2 1=1 2=1"])
def test_an_input_layer_that_is_cut_is_damaged(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.param").write_text(f"7767517\n1 1\n{line}\n", encoding="utf-8")
    assert all(info.shape == () for info in read_inputs(tmp_path / "a.param"))
