"""A child loads a file once for the run and the client, and anew when anything differs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.small_graphs import simcc_graph
from poseconform.isolation import sessions
from poseconform.isolation.sessions import SharedRuntime
from poseconform.judge import runs
from poseconform.subject.clients import detector_of
from posedeploy.runtime import Code, SessionOptions

RUNTIME = SharedRuntime("onnxruntime")


@pytest.fixture(autouse=True)
def _none_loaded() -> Iterator[None]:
    sessions._loaded.clear()
    yield
    sessions._loaded.clear()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return simcc_graph(tmp_path / "end2end.onnx")


def test_the_same_files_are_loaded_once(graph: Path) -> None:
    first = RUNTIME.load([graph], "cpu", SessionOptions())
    assert RUNTIME.load([graph], "cpu:0", SessionOptions()) is first
    assert SharedRuntime("onnxruntime").probe().code is Code.AVAILABLE


def _options(_graph: Path) -> SessionOptions:
    return SessionOptions(threads=2)


def _other_options(_graph: Path) -> SessionOptions:
    return SessionOptions("fp16")


def _another_file(graph: Path) -> SessionOptions:
    content = graph.read_bytes()
    graph.unlink()
    graph.write_bytes(content)
    return SessionOptions()


def _touched(graph: Path) -> SessionOptions:
    os.utime(graph, ns=(0, 0))
    return SessionOptions()


@pytest.mark.parametrize("change", [_options, _other_options, _another_file, _touched])
def test_other_files_or_options_are_loaded_anew(
    graph: Path, change: Callable[[Path], SessionOptions]
) -> None:
    first = RUNTIME.load([graph], "cpu", SessionOptions())
    assert RUNTIME.load([graph], "cpu", change(graph)) is not first


def test_the_sessions_of_two_files_are_not_held_at_once(graph: Path, tmp_path: Path) -> None:
    first = RUNTIME.load([graph], "cpu", SessionOptions())
    copy = Path(shutil.copy(graph, tmp_path / "copy.onnx"))
    assert RUNTIME.load([copy], "cpu", SessionOptions()) is not first
    assert RUNTIME.load([graph], "cpu", SessionOptions()) is not first


def test_a_file_that_is_missing_is_the_backends_to_refuse(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"onnxruntime could not load none\.onnx"):
        RUNTIME.load([tmp_path / "none.onnx"], "cpu", SessionOptions())


def test_the_client_takes_the_session_of_the_run(
    tiny_sdk: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sdk"
    shutil.copytree(tiny_sdk("rtmpose_t"), folder)
    files = [str(folder / "end2end.onnx")]
    runs.load("onnxruntime", files, "cpu", SessionOptions("fp32", threads=1))
    with detector_of(str(folder)) as detector:
        assert _session(detector) is runs._sessions[0]
    deploy = folder / "deploy.json"
    deploy.write_text(deploy.read_text().replace('"FP32"', '"FP16"'))
    with detector_of(str(folder)) as detector:
        assert _session(detector) is not runs._sessions[0], "the client loads what the JSON says"


def _session(detector: Any) -> Any:
    return detector._session
