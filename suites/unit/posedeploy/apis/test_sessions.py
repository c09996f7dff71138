"""A session is loaded once for two owners, and never for other files or other options."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from posedeploy.apis.sessions import LoadedOnce
from posedeploy.runtime import Availability, Code, Session, SessionOptions


class Counting:
    """A runtime whose sessions are objects of no use."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def probe(self) -> Availability:
        return Availability(Code.NO_DRIVER, "no driver")

    def probe_device(self, kind: str) -> Availability:
        return Availability(Code.NO_DEVICE, kind)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> Session:
        session = object()
        self.given.append((session, files, device, options))
        return cast("Session", session)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "graph").write_text("graph")
    return tmp_path / "graph"


def test_the_second_owner_gets_the_session_and_the_third_a_new_one(file: Path) -> None:
    runtime = Counting()
    once, options = LoadedOnce(runtime), SessionOptions("fp32")
    sessions = [once.load([file], "cpu", options) for _ in range(3)]
    assert sessions[0] is sessions[1]
    assert sessions[2] is not sessions[0]  # the second may have closed it
    assert len(runtime.given) == 2


def _other_size(file: Path) -> tuple[str, SessionOptions]:
    file.write_text("another graph")
    return "cpu", SessionOptions("fp32")


def _other_time(file: Path) -> tuple[str, SessionOptions]:
    os.utime(file, (1, 1))
    return "cpu", SessionOptions("fp32")


@pytest.mark.parametrize(
    "change",
    [
        _other_size, _other_time, lambda _: ("cuda:1", SessionOptions("fp32")),
        lambda _: ("cpu", SessionOptions("fp16")),
        lambda _: ("cpu", SessionOptions("fp32", threads=2)),
        lambda _: ("cpu", SessionOptions("fp32", extra={"keep": "yes"})),
    ],
)  # fmt: skip
def test_another_file_device_or_option_is_loaded_anew(
    file: Path, change: Callable[[Path], tuple[str, SessionOptions]]
) -> None:
    once = LoadedOnce(Counting())
    first = once.load([file], "cpu", SessionOptions("fp32"))
    assert once.load([file], *change(file)) is not first


def test_it_answers_as_the_runtime_itself() -> None:
    once = LoadedOnce(Counting())
    assert once.probe() == Availability(Code.NO_DRIVER, "no driver")
    assert once.probe_device("cuda") == Availability(Code.NO_DEVICE, "cuda")
