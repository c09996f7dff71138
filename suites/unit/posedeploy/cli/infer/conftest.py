"""`posedeploy infer` with a small top-down model, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import Done
from posedeploy.cli import main


@pytest.fixture
def sdk(tiny_sdk: Callable[[str], Path]) -> Path:
    return tiny_sdk("rtmpose_t")


@pytest.fixture
def infer(
    tmp_path: Path, sdk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs the command with the model and these words, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(["infer", str(sdk), *map(str, words)])
        out, err = capsys.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return run
