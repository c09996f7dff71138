"""The consoles of all commands."""

from __future__ import annotations

import logging

import pytest

from posedeploy.cli.app import run
from posedeploy.cli.terminal import console, one_line, print_json


@pytest.mark.parametrize("stderr", [False, True], ids=["stdout", "stderr"])
def test_no_name_is_a_command_to_ci(
    stderr: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for name in ("::error::x.png", "a\n::error::x.png", "##[error]x.png"):
        console(stderr=stderr).print(one_line(name))
    printed = capsys.readouterr()
    lines = (printed.err if stderr else printed.out).splitlines()
    assert lines == ["\\::error::x.png", r"a\n::error::x.png", r"##\[error]x.png"]


def test_nothing_that_is_logged_is_a_command_to_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def application(**_: object) -> None:
        logging.StreamHandler().handle(logging.makeLogRecord({"msg": "a\n::error::b.py runs"}))

    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    run([], application)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run([], application)
    assert capsys.readouterr().err.splitlines() == [
        "a", "::error::b.py runs", "a", "\\::error::b.py runs",
    ]  # fmt: skip


def test_json_is_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    print_json("##[x]")
    assert capsys.readouterr().out == '"##[x]"\n'
