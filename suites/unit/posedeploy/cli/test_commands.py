"""The table of commands: its help is theirs, and the program's help imports none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from posedeploy.cli.commands import ROWS, CommandRow, load_command

HEAVY = ("cv2", "mmengine", "mmpose", "numpy", "onnx", "posedeploy.sdk", "torch")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["cnvert"]], ids=" ".join)
def test_what_calls_no_command_imports_none(words: list[str]) -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from posedeploy.cli import main\n"
        "try:\n"
        f"    main({words!r})\n"
        "except SystemExit:\n"
        f"    print('loaded:', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_help_of_a_row_is_that_of_the_command(row: CommandRow) -> None:
    first = (load_command(row).help or "").split("\n\n")[0]
    assert " ".join(first.split()) == row.help


def test_the_application_has_the_commands_of_the_table() -> None:
    from posedeploy.cli.app import app

    group = typer.main.get_command(app)
    assert list(group.commands) == [row.name for row in ROWS]  # type: ignore[attr-defined]
    assert group.commands.get("cnvert") is None  # type: ignore[attr-defined]
