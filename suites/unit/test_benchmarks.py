"""The benchmarks' tables, turns and budgets, without their clients."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from poseconform.results.records import CellRecord
from poseconform.results.results import new_results, write_results
from posedeploy.cli.profile.ratios import Ratio
from suites.benchmarks import bench_people, bench_sdk
from suites.benchmarks.__main__ import PAGE
from suites.benchmarks.bench import CASES, Case, Measured, Measurement, run_case
from suites.benchmarks.bench import result as commands
from suites.benchmarks.bench_sdk import Turn
from suites.benchmarks.tables import Result, in_page, publish, shown
from suites.benchmarks.turns import (
    CONTROL,
    FLOOR,
    OURS,
    PACKAGES,
    installed,
    not_installed,
    rounds,
)

QUIET = Console(quiet=True)
MARKS = "# Page\n\n<!-- bench x: begin -->\nold\n<!-- bench x: end -->\n\nmore\n"


def test_a_table_is_printed_kept_and_written_into_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Result("x", ("client", "÷"), [("a", "0.98")], ["A note."], {"budget": 1}, False)
    assert publish(result, tmp_path / "new" / "x.json") == 1
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("client", "0.98", "A note.", "x.json"))
    document = json.loads((tmp_path / "new" / "x.json").read_text())
    assert document["budget"] == 1
    page = in_page(MARKS, "x", document)
    assert "| client | ÷ |\n| --- | --- |\n| a | 0.98 |\n\nA note.\n\nMeasured " in page
    assert "old" not in page
    assert in_page(page, "x", document) == page
    with pytest.raises(ValueError, match="bench y: begin"):
        in_page(MARKS, "y", document)


def test_the_page_has_a_place_for_every_benchmark() -> None:
    text = PAGE.read_text("utf-8")
    document = {
        "cpu": {"machine": "m", "count": 1}, "load": 0.2, "python": "3", "versions": {},
        "date": "d", "head": ["a"], "rows": [["1"]], "notes": [],
    }  # fmt: skip
    for name in ("commands", "people", "sdk", "threads"):
        text = in_page(text, name, document)
    assert text.count("Measured d · m, 1 CPUs · load 0 · Python 3.") == 4


def test_a_ratio_without_an_interval_is_shown_alone() -> None:
    assert shown(None) == ("-", "-")
    assert shown(Ratio(0.5, 0.0, math.inf, 5)) == ("0.500", "-")
    assert shown(Ratio(0.5, 0.4, 0.6, 6)) == ("0.500", "0.400 to 0.600")


class RecordedChild:
    """A child that answers with the number of the call, over all children."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def call(self, target: str, *args: Any, timeout: float) -> int:
        assert (target, args, timeout) == ("module:turn", (1, 2), 9.0)
        self.calls.append(self.name)
        return len(self.calls)


def test_every_other_round_is_in_reverse() -> None:
    calls: list[str] = []
    children: Any = {name: RecordedChild(name, calls) for name in "abc"}
    found = rounds(children, "module:turn", 1, 2, count=3, timeout=9.0)
    assert "".join(calls) == "abccbaabc"
    assert found == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_a_client_that_is_not_installed_is_named() -> None:
    packages = {**PACKAGES, "rtmlib": "no_such_package"}
    there, missing = installed([OURS, "rtmlib"], packages)
    assert (there, missing) == ([OURS], ["rtmlib"])
    assert not_installed(missing) == "rtmlib: not installed (requirements/clients.txt)"


def turns(cpu: float, wall: float, session: float = 1.0) -> list[Turn]:
    return [Turn([cpu] * 3, [wall] * 3, [session] * 3)] * 6


@pytest.mark.parametrize(
    ("other", "share", "within"), [(2.0, 1.05, True), (1.0, 1.05, False), (2.0, 1.2, False)]
)
def test_budgets_of_a_call(other: float, share: float, within: bool) -> None:
    ours = turns(share, 1.06)
    found = {1: {OURS: ours, CONTROL: ours, "rtmlib": turns(other, 2.0), FLOOR: turns(1.0, 1.0)}}
    result = bench_sdk.result(found, ["mmdeploy-runtime"])
    assert result.within_budget == within
    assert "mmdeploy-runtime: not installed" in result.notes[1]
    rows = {row[1]: row[4] for row in result.rows}
    assert rows[OURS] == "-"
    assert rows[CONTROL] == "1.000"
    assert rows["rtmlib"] == f"{max(share / other, 0.53):.3f}"  # the less favorable of the two
    assert rows[FLOOR] == f"{max(share, 1.06):.3f}"


@pytest.mark.parametrize(("cpu", "wall", "within"), [(9, 9, True), (11, 9, False), (9, 12, False)])
def test_budgets_of_people(cpu: float, wall: float, within: bool) -> None:
    """The image by CPU time, the video by wall time; rtmlib may not be faster."""
    both = {kind: {OURS: [(10.0, 10.0)] * 6, CONTROL: [(9.0, 9.0)] * 6,
                   "rtmlib": [(wall, cpu)] * 6} for kind in ("image", "video")}  # fmt: skip
    result = bench_people.result(both, [], 30)
    assert result.within_budget == within
    assert [row[4] for row in result.rows if row[1] == "rtmlib"] == [
        f"{10 / cpu:.3f}", f"{10 / wall:.3f}",
    ]  # fmt: skip


def measured(*seconds: float) -> list[Measurement]:
    return [Measurement(cpu, 1.0, 0.5, 2) for cpu in seconds]


@pytest.mark.parametrize(
    ("cpu", "memory", "within"),
    [(2.1, 0.6, True), (1.9, None, False), (None, 0.4, False), (None, None, True)],
)
def test_budgets_of_a_command(cpu: float | None, memory: float | None, within: bool) -> None:
    row = Measured("cells", measured(1.0, 4.0, 90.0), cpu, memory, cells=2)
    result = commands([row], "")
    assert result.within_budget == within
    assert result.rows[0][:2] == ["cells", "2.00"]


def test_a_command_beside_another_has_the_ratio_of_the_turns() -> None:
    row = Measured("a", measured(*[1.0, 2.0] * 3), None, beside=measured(*[4.0, 8.0] * 3))
    assert commands([row], "other {folder}").rows[0][-2:] == ["0.250", "0.250 to 0.250"]


def test_a_command_has_a_folder_of_its_own_in_each_run() -> None:
    code = "import os; os.mkdir('{folder}/sdk')"
    (row,) = run_case(Case("make", ("timeit", "-n1", "-r1", code)), 2, "", QUIET)
    assert (row.name, len(row.runs)) == ("make", 2)
    assert all(0 < run.cpu_seconds < run.wall_seconds + 1 for run in row.runs)
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        run_case(Case("fail", ("timeit", "-n1", "-r1", "1 / 0")), 1, "", QUIET)


def test_the_judge_runs_again_with_the_cache_that_it_left(
    tmp_path: Path,
) -> None:
    """The command makes the cache's folder, which may be there in the second run alone."""
    cells = [
        CellRecord(model=outcome, family="RTMPose", backend="onnxruntime", precision="fp32",
                   shape_mode="static", deploy_config="pose-detection", outcome=outcome)
        for outcome in ("pass", "crash", "missing")
    ]  # fmt: skip
    write_results(tmp_path / "results.json", new_results(cells, environment={}, run={}))
    code = (
        "import os, shutil; assert os.environ['XDG_CACHE_HOME'] == '{folder}/cache'; "
        "os.makedirs('{folder}/cache', exist_ok=os.path.isdir('{folder}/report')); "
        f"shutil.copytree('{tmp_path}', '{{folder}}/report', dirs_exist_ok=True)"
    )
    case = Case("cell", ("timeit", "-n1", "-r1", code), states={"cold": 6.0, "warm": 2.0},
                by_cell=True)  # fmt: skip
    cold, warm = run_case(case, 5, "", QUIET)
    assert (cold.name, warm.name) == ("cell, cold (of 2)", "cell, warm (of 2)")
    assert (cold.cpu_budget, warm.cpu_budget, cold.cells) == (6.0, 2.0, 2)
    assert cold.cpu_seconds == cold.runs[0].cpu_seconds / 2


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
