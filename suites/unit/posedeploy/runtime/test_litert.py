"""The LiteRT runtime on a small file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.litert_files import SHAPE, LiteRtFile
from fixtures.threads import THREADS, Comparison, compare_threads
from posedeploy.runtime import SessionOptions, TensorInfo, get_runtime
from posedeploy.runtime.litert import SIGNATURE, LiteRtSession, open_model

RUNTIME = get_runtime("litert")


def loaded(file: LiteRtFile, **options: Any) -> LiteRtSession:
    session = RUNTIME.load([file.path], "cpu", SessionOptions(**options))
    assert isinstance(session, LiteRtSession)
    return session


def test_a_file_computes_what_pytorch_does(litert_file: LiteRtFile) -> None:
    session = loaded(litert_file)
    assert session.inputs == (TensorInfo("input", SHAPE, "float32"),)
    assert session.outputs == (TensorInfo("output", (1, 5, 16, 12), "float32"),)
    assert session.effective_options == {
        "inference_precision": "fp32", "kernels": "XNNPACK", "num_threads": "1"
    }  # fmt: skip
    got = session.run({"input": litert_file.image})["output"]
    assert np.abs(got - litert_file.output).max() <= 1e-5
    other = session.run({"input": np.zeros(SHAPE, np.float32)})["output"]
    assert np.abs(got - litert_file.output).max() <= 1e-5, "a result is the caller's own"
    assert np.abs(got - other).max() > 1e-3


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 16, 11), r"\[1, 3, 16, 11\]; the file takes \[1, 3, 16, 12\]"),
        ((1, 16, 12, 3), r"\[1, 16, 12, 3\]; the file takes"),
        ((2, 3, 16, 12), r"\[2, 3, 16, 12\]; the file takes"),
    ],
)
def test_another_shape_is_refused_that_litert_would_take(
    litert_file: LiteRtFile, shape: tuple[int, ...], words: str
) -> None:
    """Its runner resizes the graph, and computes nonsense from channels-last images."""
    with pytest.raises(RuntimeError, match=words):
        loaded(litert_file).run({"input": np.zeros(shape, np.float32)})


def test_an_input_that_is_missing_is_named(litert_file: LiteRtFile) -> None:
    with pytest.raises(RuntimeError, match="input 'input': nothing"):
        loaded(litert_file).run({})


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_in_words(
    litert_file: LiteRtFile, tmp_path: Path, part: float
) -> None:
    """LiteRT's `CompiledModel` ends the process with SIGSEGV."""
    content = litert_file.path.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(RuntimeError, match=r"litert could not load cut\.tflite: .*(valid|empty)"):
        RUNTIME.load([path], "cpu", SessionOptions())


def test_a_missing_file_is_named(litert_file: LiteRtFile) -> None:
    path = litert_file.path.with_name("none.tflite")
    with pytest.raises(RuntimeError, match=r"could not load none\.tflite: .*No such file"):
        RUNTIME.load([path], "cpu", SessionOptions())


def changed(litert_file: LiteRtFile, path: Path, change: Any) -> Path:
    """A copy of the file with something changed in its object form."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(litert_file.path))
    change(model)
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return path


def test_a_file_without_the_signature_is_refused(litert_file: LiteRtFile, tmp_path: Path) -> None:
    def rename(model: Any) -> None:
        model.signatureDefs[0].signatureKey = b"main"

    path = changed(litert_file, tmp_path / "a.tflite", rename)
    with pytest.raises(RuntimeError, match=rf"no signature '{SIGNATURE}', but: \['main'\]"):
        RUNTIME.load([path], "cpu", SessionOptions())


def test_sizes_that_nobody_can_hold_are_refused(litert_file: LiteRtFile, tmp_path: Path) -> None:
    def enlarge(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = [100_000, 3, 16, 12]

    path = changed(litert_file, tmp_path / "a.tflite", enlarge)
    with pytest.raises(RuntimeError, match=r"of shape \[100000, 3, 16, 12\]; expected sizes"):
        RUNTIME.load([path], "cpu", SessionOptions())


def from_threads(call: Any, file: LiteRtFile) -> Comparison:
    feeds = [{"input": file.image + np.float32(value)} for value in range(THREADS)]
    alone = loaded(file)
    return compare_threads(call, feeds, alone=alone.run)


def test_a_session_outlives_its_file(litert_file: LiteRtFile, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(litert_file.path.read_bytes())
    session = RUNTIME.load([path], "cpu", SessionOptions())
    path.write_bytes(b"another")
    found = from_threads(session.run, litert_file)
    assert found.mismatches == 0, "the first thread has the Interpreter of `load`, others do not"


def test_threads_do_not_get_each_others_results(litert_file: LiteRtFile) -> None:
    found = from_threads(loaded(litert_file).run, litert_file)
    assert (found.calls, found.mismatches) == (504, 0)


def test_threads_that_share_an_interpreter_would(litert_file: LiteRtFile) -> None:
    """The planted defect: what the session above is for."""
    runner = open_model(litert_file.path.read_bytes()).get_signature_runner(SIGNATURE)
    assert from_threads(lambda feed: runner(**feed), litert_file).mismatches > 0


SILENT = """
import sys, pathlib, numpy as np
from posedeploy.runtime import SessionOptions, get_runtime
session = get_runtime("litert").load([pathlib.Path(sys.argv[1])], "cpu", SessionOptions())
session.run({"input": np.zeros((1, 3, 16, 12), np.float32)})
print("to the end", file=sys.stderr)
assert not {"torch", "mmpose"} & set(sys.modules)
"""


def test_nothing_is_written_and_neither_torch_nor_mmpose_is_imported(
    litert_file: LiteRtFile,
) -> None:
    command = [sys.executable, "-c", SILENT, str(litert_file.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "to the end\n")


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [("cuda", "fp32", "device 'cuda'"), ("cpu", "bf16", "precision 'bf16'")],
)
def test_what_it_cannot_compute_is_refused(device: str, precision: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        RUNTIME.load([Path("x")], device, SessionOptions(precision))
