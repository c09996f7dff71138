"""What is printed: a floor without decoding, the control, and a busy machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from posedeploy.cli.profile.comparing import comparisons
from posedeploy.cli.profile.machine import fingerprint
from posedeploy.cli.profile.measuring import Run
from posedeploy.cli.profile.table import show_comparisons, show_machine, show_times


def run(folder: str, total: float, *, path: str = "", is_floor: bool = False) -> Run:
    """A run of six equal rounds."""
    found = Run(folder, Path(path or folder), 1, "onnxruntime", "fp32", {}, is_floor)
    stages = {"pre": 1.0, "session": total - 1} | ({} if is_floor else {"post": 0.5})
    for _ in range(6):
        found.take_turn(lambda: {**stages, "total": total}, 1)
    return found


def printed(show: Callable[[Console], None]) -> str:
    console = Console(highlight=False, width=100)
    with console.capture() as capture:
        show(console)
    return capture.get()


def test_ratios_are_to_the_first_folder_and_to_the_floors() -> None:
    runs = [
        run("a", 11), run("a", 10, is_floor=True), run("b", 5.5), run("a (2)", 12.1, path="a"),
    ]  # fmt: skip
    times = printed(lambda out: show_times(out, runs)).splitlines()
    ratios = {line[:8].strip(): line.split()[-1] for line in times[3:7]}
    assert ratios == {"a": "1.00", "floor": "0.91", "b": "0.50", "a (2)": "1.10"}
    assert times[4].split()[1:6] == ["1", "1", "9", "±0", "-"]  # batch, pre, session, no post
    found = printed(lambda out: show_comparisons(out, list(comparisons(runs, folders=True))))
    rows = [" ".join(line.split()) for line in found.splitlines() if "÷" in line]
    assert rows == [
        "b ÷ a 1 0.500 0.500 to 0.500 faster",
        "a (2) ÷ a 1 1.100 1.100 to 1.100 control: slower",
        "a ÷ its floor 1 1.100 1.100 to 1.100 10 % above",
    ]


@pytest.mark.parametrize(("load", "busy"), [(7.0, True), (0.2, False), (None, False)])
def test_a_busy_machine_is_reported(load: float | None, busy: bool) -> None:
    machine = {**fingerprint(1), "load_average": load}
    found = printed(lambda out: show_machine(out, [], machine))
    assert (f"load {'?' if load is None else load}") in found
    assert ("other programs were busy" in found) == busy
