"""The TorchScript runtime and converter on a small traced module."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from posedeploy.config import load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.runtime import Session, SessionOptions, TensorInfo, backend_row, get_runtime
from posedeploy.runtime.torchscript import (
    SIGNATURE,
    TorchScriptSession,
    read_signature,
    signature_text,
)

INPUT = TensorInfo("input", ("batch", 3, 8, 8), "float32")
OUTPUTS = (
    TensorInfo("twice", ("batch", 3, 8, 8), "float32"),
    TensorInfo("sum", ("batch",), "float32"),
)


class Two(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2 * x, x.sum(dim=(1, 2, 3))


def write(path: Path, signed: bool, module: nn.Module | None = None) -> Path:
    traced = torch.jit.trace(module or Two(), torch.rand(2, 3, 8, 8))  # type: ignore[no-untyped-call]
    extra = {SIGNATURE: signature_text((INPUT,), OUTPUTS)} if signed else {}
    torch.jit.save(traced, str(path), _extra_files=extra)
    return path


def test_names_come_from_the_file(tmp_path: Path) -> None:
    session = get_runtime("torchscript").load(
        [write(tmp_path / "end2end.pt", signed=True)], "cpu", SessionOptions()
    )
    assert (session.inputs, session.outputs) == ((INPUT,), OUTPUTS)
    image = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    found = session.run({"input": image})
    assert list(found) == ["twice", "sum"]
    np.testing.assert_array_equal(found["twice"], 2 * image)
    np.testing.assert_allclose(found["sum"], image.sum(axis=(1, 2, 3)), rtol=1e-5)


def test_a_file_of_others_is_called_by_position(tmp_path: Path) -> None:
    session = get_runtime("torchscript").load(
        [write(tmp_path / "end2end.pt", signed=False)], "cpu", SessionOptions()
    )
    assert [i.name for i in session.inputs] == ["#0"]
    assert [i.name for i in session.outputs] == ["#0", "#1"]
    assert session.inputs[0].shape == ()
    image = np.ones((1, 3, 8, 8), np.float32)
    assert float(session.run({"#0": image})["#1"][0]) == 192.0


def test_one_output_is_no_tuple(tmp_path: Path) -> None:
    path = write(tmp_path / "end2end.pt", signed=False, module=nn.ReLU())
    session = get_runtime("torchscript").load([path], "cpu", SessionOptions())
    assert list(session.run({"#0": -np.ones((1, 3, 8, 8), np.float32)})) == ["#0"]


def test_options_in_force_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "end2end.pt", signed=True)
    session = get_runtime("torchscript").load([path], "cpu", SessionOptions(threads=1))
    assert session.effective_options == {
        "inference_precision": "fp32", "float32_matmul_precision": "highest", "num_threads": "1",
    }  # fmt: skip


def test_the_first_call_is_not_profiled() -> None:
    """Torch would compile in the first two calls; in the caller's own modules it still does."""
    optimized = torch._C._get_graph_executor_optimize
    seen = []

    def module(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(optimized())
        return x, x.sum()

    session = TorchScriptSession(module, signature_text((INPUT,), OUTPUTS), {})
    session.run({"input": np.ones((1, 3, 8, 8), np.float32)})
    assert (seen, optimized()) == ([False], True)


def test_a_session_keeps_its_number_of_threads(tmp_path: Path) -> None:
    """Torch's number of threads is the process's: the sums of another number round differently."""
    path = write(tmp_path / "end2end.pt", signed=True)
    one, two = (
        get_runtime("torchscript").load([path], "cpu", SessionOptions(threads=n)) for n in (1, 2)
    )
    feed = {"input": np.ones((1, 3, 8, 8), np.float32)}

    def threads_of(session: Session) -> int:
        session.run(feed)
        return torch.get_num_threads()

    assert [threads_of(session) for session in (one, two, one)] == [1, 2, 1]
    with ThreadPoolExecutor(1) as other:
        assert other.submit(threads_of, one).result() == 1


def test_reduced_precision_of_the_process_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "end2end.pt", signed=True)
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(RuntimeError, match="'medium' precision"):
            get_runtime("torchscript").load([path], "cpu", SessionOptions())
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        ("cuda", SessionOptions(), "'cuda' is not one of"),
        ("cpu", SessionOptions(precision="fp16"), "'fp16' is not"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(
    tmp_path: Path, device: str, options: SessionOptions, words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        get_runtime("torchscript").load([tmp_path / "end2end.pt"], device, options)


def test_a_file_that_is_none_is_a_runtime_error(tmp_path: Path) -> None:
    (tmp_path / "end2end.pt").write_bytes(b"PK no archive")
    with pytest.raises(RuntimeError):
        get_runtime("torchscript").load([tmp_path / "end2end.pt"], "cpu", SessionOptions())


def test_the_converter_copies_and_its_names_are_positions(tmp_path: Path) -> None:
    ir = write(tmp_path / "traced.pt", signed=True)
    config = load_deploy_config("pose-detection_torchscript")
    converted = get_converter("torchscript", "fp32").convert(ir, config, tmp_path)
    assert converted.files == ("end2end.pt",)
    assert (tmp_path / "end2end.pt").read_bytes() == ir.read_bytes()
    assert backend_row("torchscript").by_position


@pytest.mark.parametrize(
    "signature",
    [
        "", "{", "[]", "{}", '{"inputs": 3, "outputs": []}', '{"inputs": [{}], "outputs": []}',
        '{"inputs": [{"name": 3, "shape": [1], "dtype": "float32"}], "outputs": []}',
        '{"inputs": [{"name": "a", "shape": [1.5], "dtype": "float32"}], "outputs": []}',
        '{"inputs": [{"name": "a", "shape": [null], "dtype": "float32"}], "outputs": []}',
        '{"inputs": [{"name": "a", "shape": 7, "dtype": "float32"}], "outputs": []}',
        '{"inputs": [{"name": "a", "shape": [], "dtype": [1]}], "outputs": []}',
        '{"inputs": ' + "[" * 100_000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_signature_that_is_none_is_damaged(signature: str | bytes) -> None:
    with pytest.raises(RuntimeError, match=r"posedeploy\.json in it is damaged"):
        read_signature(signature)
