"""The stages of a conversion in a terminal, and a signal that one of them swallowed."""

from __future__ import annotations

import contextlib
import io
import signal
from pathlib import Path

import pytest
from rich.console import Console

from posedeploy.apis.progress import at_stage
from posedeploy.cli.convert import Stages
from posedeploy.cli.stopping import Stopping
from posedeploy.paths import whole_folder


@pytest.mark.parametrize("swallowing", ["export", "compare"])
def test_a_signal_that_any_stage_swallows_ends_the_conversion(
    tmp_path: Path, swallowing: str
) -> None:
    stopping = Stopping()
    shown = Stages(Console(file=io.StringIO(), force_terminal=True), stopping.check)

    def convert() -> None:
        with whole_folder(tmp_path / "work"):
            for stage in ("export", "convert", "compare"):
                with at_stage(stage, shown), contextlib.suppress(SystemExit):  # as native code
                    if stage == swallowing:
                        stopping(signal.SIGTERM, None)

    with pytest.raises(SystemExit, match="143"):
        convert()
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_a_signal_ends_is_no_second_exit() -> None:
    stopping = Stopping()
    shown = Stages(Console(file=io.StringIO()), stopping.check)
    with pytest.raises(SystemExit, match="143") as ended, at_stage("export", shown):
        stopping(signal.SIGTERM, None)
    assert ended.value.__context__ is None
