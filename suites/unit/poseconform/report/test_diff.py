"""What changed between two runs: exactly what was planted, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.sample_results import sample_results
from poseconform.pytest_plugin.baseline import summary_lines
from poseconform.report.data.baseline import comparable
from poseconform.report.data.diff import (
    THRESHOLDS,
    Diff,
    change_counts,
    changes,
    diff_results,
    grew,
)
from poseconform.report.data.fingerprint import differences, same_machine
from poseconform.report.text.github import MAX_DIFF_ROWS, diff_markdown
from poseconform.results import records as oc
from poseconform.results.results import Results

MEASURED = next(c for c in sample_results(40).cells if c.outcome == "pass" and c.latency_ms)


def results(*cells: oc.CellRecord, **environment: object) -> Results:
    return Results(environment={"cpu": "x"} | environment, cells=cells)


def planted(**fields: object) -> tuple[Diff, oc.CellRecord]:
    """The diff when of two cells one has changed."""
    other = replace(MEASURED, model="other")
    new = replace(MEASURED, **fields)  # type: ignore[arg-type]
    return diff_results(results(MEASURED, other), results(new, other)), new


def test_a_run_does_not_differ_from_itself() -> None:
    run = sample_results(200)
    diff = diff_results(run, run)
    assert {f.kind for f in diff.findings} == {"still-failing"}
    assert diff.regressions == ()
    assert diff_markdown(diff).startswith("## No regression\n")


@pytest.mark.parametrize(
    ("fields", "kind", "regression"),
    [
        ({"outcome": "mismatch", "headroom": 40.0}, "newly-failing", True),
        ({"outcome": "unavailable:no-device"}, "missing", True),
        ({"outcome": "missing"}, "missing", True),
        ({"outcome": "xfail"}, "outcome", False),
        ({"headroom": 5.0}, "headroom", True),
        ({"headroom": math.nan}, "headroom", True),
        ({"keypoint_error_px": oc.PixelError(0, 0, 9.0)}, "keypoint error", True),
        ({"latency_ms": oc.LatencyRecord(4_000.0, 1.0, 20)}, "latency", False),
        ({"artifacts": (oc.ArtifactRecord("a", "b", 10**10),)}, "size", False),
        ({"graph": oc.GraphRecord({"Conv": 3}, 3, 18, 9)}, "graph", False),
        ({"checkpoint_sha256": "f" * 64}, "checkpoint", False),
    ],
)
def test_a_planted_change_is_found_and_nothing_else(
    fields: dict[str, object], kind: str, regression: bool
) -> None:
    diff, new = planted(**fields)
    assert [(f.kind, f.cell.cell_id, f.regression) for f in diff.findings] == [
        (kind, new.cell_id, regression)
    ]
    assert bool(diff.regressions) is regression
    text = diff_markdown(diff)
    assert text.count(f"| {new.flow} ") == 1
    assert ("No regression" in text) is not regression


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "not-selected"},
        {"headroom": (MEASURED.headroom or 0) * 1.5},
        {"headroom": None},
        {"latency_ms": None},
        {"artifacts": ()},
        {"graph": None},
        {"reason": "other words", "log_tail": "x", "repro": "y"},
    ],
)
def test_what_is_no_change_is_not_said(fields: dict[str, object]) -> None:
    assert planted(**fields)[0].findings == ()


def test_cells_that_came_and_went() -> None:
    gone = diff_results(results(MEASURED), results())
    assert [(f.kind, f.before, f.after) for f in gone.findings] == [
        ("missing", "pass", "not there")
    ]
    came = diff_results(
        results(), results(MEASURED, replace(MEASURED, model="b", outcome="crash"))
    )
    assert sorted((f.kind, f.before) for f in came.findings) == [
        ("new", "not there"),
        ("newly-failing", "not there"),
    ]
    absent = replace(MEASURED, outcome="unavailable:no-device")
    assert diff_results(results(), results(absent)).findings == ()


def test_latencies_of_different_machines_are_not_compared() -> None:
    slow = replace(MEASURED, latency_ms=oc.LatencyRecord(9_000.0, 0.0, 20))
    diff = diff_results(results(MEASURED), results(slow, cpu="y"))
    assert diff.findings == ()
    assert diff.environment == (("cpu", "x", "y"),)
    text = diff_markdown(diff)
    assert "Latencies were not compared" in text
    assert "Environment: 1 difference" in text
    noisy = replace(MEASURED, latency_ms=oc.LatencyRecord(9_000.0, 9_000.0, 20))
    assert diff_results(results(MEASURED), results(noisy)).findings == ()


def test_every_kind_of_change_is_counted() -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    before = ["pass", "crash", "crash", "pass", "missing", ""]
    after = ["crash", "crash", "pass", "missing", "missing", "pass"]

    def run(outcomes: list[str]) -> Results:
        cells = [
            replace(MEASURED, stages=(), model=n, outcome=o)
            for n, o in zip(names, outcomes, strict=True)
            if o
        ]
        return results(*cells)

    changed = changes(run(before), run(after))
    assert [count for _, _, count in change_counts(changed)] == [1, 1, 1, 1, 1]
    assert len(changed) == 5


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (0.05, 0.19, False),
        (0.05, 0.21, True),
        (0.3, 0.59, False),
        (0.3, 0.61, True),
        (0.3, math.inf, True),
        (math.nan, 3.0, False),
        (None, 3.0, False),
        (3.0, None, False),
    ],
)
def test_growth_needs_a_factor_and_a_size(
    old: float | None, new: float | None, expected: bool
) -> None:
    assert grew(THRESHOLDS["headroom"], old, new) is expected


def test_operators_are_named() -> None:
    old = replace(MEASURED, graph=oc.GraphRecord({"Conv": 3, "Relu": 2}, 5, 17, 8))
    new = replace(MEASURED, graph=oc.GraphRecord({"Conv": 2, "Gelu": 1}, 3, 17, 8))
    (finding,) = diff_results(results(old), results(new)).findings
    assert (finding.before, finding.after) == ("nodes 5", "nodes 3")
    assert finding.note == "Conv -1, Gelu +1, Relu -2"


def test_hostile_strings_stay_in_their_cell() -> None:
    evil = "a|b\n| c | <img src=x> `d` @team"
    diff, _ = planted(outcome="crash", reason=evil, repro=evil)
    text = diff_markdown(diff)
    assert "<img" not in text.replace("\\<img", "").replace("`", "").replace(
        "a\\|b \\| c \\| <img src=x> d @team", ""
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 6 for line in rows)


def test_long_lists_are_cut() -> None:
    cells = tuple(replace(MEASURED, model=f"m{n:03}") for n in range(MAX_DIFF_ROWS + 5))
    bad = tuple(replace(c, outcome="crash") for c in cells)
    text = diff_markdown(diff_results(results(*cells), results(*bad)))
    assert text.startswith(f"## {MAX_DIFF_ROWS + 5} regressions in {MAX_DIFF_ROWS + 5} cells\n")
    assert "… and 5 more." in text
    assert len(text) < 65_000


def test_two_subjects_are_compared_cell_by_cell() -> None:
    ours = [replace(MEASURED, model=name) for name in ("a", "b", "c")]
    theirs = [
        replace(ours[0], implementation="folder", headroom=5.0),
        replace(ours[1], implementation="folder", deploy_config="x", outcome="mismatch"),
        replace(ours[0], implementation="folder", model="d"),
    ]
    diff = diff_results(results(*ours), results(*theirs))
    assert diff.compared == 2
    assert diff.subjects == (
        "folder against posedeploy: 2 cells of both; without a counterpart: 1 of posedeploy's and "
        "1 of folder's."
    )
    found = {(f.kind, f.cell.model, f.cell.implementation) for f in diff.regressions}
    assert found == {("headroom", "a", "folder"), ("newly-failing", "b", "folder")}
    assert diff.subjects in diff_markdown(diff).replace("\\", "")


def test_a_flow_that_is_there_twice_is_no_counterpart() -> None:
    ours = [replace(MEASURED, deploy_config=name) for name in ("x", "y")]
    theirs = replace(MEASURED, implementation="folder", deploy_config="z")
    assert diff_results(results(*ours), results(theirs)).compared == 0
    same = replace(theirs, deploy_config="y")
    assert diff_results(results(*ours), results(same)).compared == 1


def test_a_baseline_of_another_subject_is_none() -> None:
    baseline = results(MEASURED, replace(MEASURED, implementation="folder"))
    run = results(replace(MEASURED, implementation="folder"))
    assert [c.implementation for c in comparable(baseline, run).cells] == ["folder"]


def test_runs_that_share_a_subject_are_compared_as_they_are() -> None:
    both = [MEASURED, replace(MEASURED, implementation="folder")]
    diff = diff_results(results(*both), results(both[1]))
    assert (diff.subjects, diff.compared) == ("", 1)
    assert [f.kind for f in diff.regressions] == ["missing"]


def test_fingerprints() -> None:
    old = {"cpu": {"model": "x"}, "packages": {"torch": "1"}, "gone": 1}
    new = {"cpu": {"model": "x"}, "packages": {"torch": "2"}, "flags": ["a", "b"]}
    assert [row[0] for row in differences(old, new)] == ["flags", "gone", "packages: torch"]
    assert same_machine(old, new)
    assert not same_machine({}, {})
    assert not same_machine(old, {"cpu": {"model": "y"}})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (("4.11.0", "8cfd"), ("5.0.0", "9cae"), True),
        (("5.0.0", "8cfd"), ("5.0.0", "9cae"), True),  # other kernels of the same version
        (("4.8.1", "8cfd"), ("4.11.0", "8cfd"), False),
        (None, ("5.0.0", "9cae"), False),  # a run of before there was the fact
    ],
)
def test_runs_of_environments_that_warp_differently_say_so(
    old: tuple[str, str] | None, new: tuple[str, str], told: bool
) -> None:
    facts = [
        {"warp": dict(zip(("opencv", "sha256"), fact, strict=True))} if fact else {}
        for fact in (old, new)
    ]
    runs = [results(MEASURED, **fact) for fact in facts]
    diff = diff_results(*runs)
    said = "OpenCV warps images differently in the two environments"
    assert (said in diff_markdown(diff)) is told
    assert any(said in line for line in summary_lines(diff, Path("base.json"))) is told
