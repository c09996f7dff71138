"""The consoles of all commands."""

from __future__ import annotations

import pytest

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


def test_json_is_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    print_json("##[x]")
    assert capsys.readouterr().out == '"##[x]"\n'
