"""A run against its baseline: what is printed, when the run fails, and what an update writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.fake_subject import PLUGINS
from fixtures.sample_results import sample_results
from poseconform.pytest_plugin.baseline import baseline_file, summary_lines
from poseconform.report.data.baseline import compare_with_baseline, update_baseline
from poseconform.results.results import Results, new_results, read_results, write_results

pytest_plugins = ["pytester"]

TESTS = """
import os, pytest

@pytest.mark.stage("numeric")
def test_numbers(cell, record):
    record(headroom=float(os.environ.get("HEADROOM", "0.1")))
    assert cell.id not in os.environ.get("BROKEN", "").split(), "3 is too much"

@pytest.mark.parametrize("defect", ["one", "two", "three"])
def test_planted(defect, request):
    request.node.user_properties.append(("poseconform.defect", defect))
    assert defect != os.environ.get("SLIPS_THROUGH")
"""
STATIC, DYNAMIC = "m1-simcc_onnxruntime_static", "m2-simcc_onnxruntime_dynamic"


# Two small results files through the public functions.


@pytest.fixture(scope="module")
def old() -> Results:
    cells = [c for c in sample_results(40).cells if c.outcome == "pass"][:4]
    return new_results(cells, environment={"os": "Linux", "cpu": {"machine": "m"}}, run={})


def changed(old: Results, index: int, **fields: Any) -> Results:
    cells = list(old.cells)
    cells[index] = replace(cells[index], **fields)
    return replace(old, cells=tuple(cells))


def printed(old: Results, new: Results, tmp_path: Path) -> list[str]:
    path = write_results(tmp_path / "baseline.json", old)
    diff = compare_with_baseline(new, path)
    assert diff is not None
    return list(summary_lines(diff, Path("b.json")))


def test_the_same_results_are_no_regression(old: Results, tmp_path: Path) -> None:
    assert printed(old, old, tmp_path) == [
        "against b.json: 0 newly failing, 0 no longer run, 0 still failing, 0 newly passing, "
        "0 new; 0 regressions"
    ]


@pytest.mark.parametrize(
    ("before", "after", "words", "regressions"),
    [
        ({}, {"outcome": "mismatch", "reason": "off"}, "newly failing", 1),
        ({"outcome": "mismatch"}, {}, "newly passing", 0),
        ({"outcome": "mismatch"}, {"outcome": "crash"}, "still failing", 0),
        ({}, {"outcome": "unavailable:no-device"}, "no longer run", 1),
        ({"headroom": 0.2}, {"headroom": 0.9}, "headroom grew", 1),
    ],
)
def test_one_planted_change_is_found_and_nothing_else(
    old: Results,
    tmp_path: Path,
    before: dict[str, Any],
    after: dict[str, Any],
    words: str,
    regressions: int,
) -> None:
    counts, *lines = printed(changed(old, 2, **before), changed(old, 2, **after), tmp_path)
    assert len(lines) == 1
    assert lines[0].startswith(f"  {words}: {old.cells[2].model}, ")
    assert counts.endswith(f"; {regressions} regression{'' if regressions == 1 else 's'}")


def test_what_was_not_selected_is_no_regression(old: Results, tmp_path: Path) -> None:
    others = tuple(replace(c, model="another") for c in old.cells)
    exported = tuple(replace(c, exporter="dynamo") for c in old.cells)
    before = replace(old, cells=(*old.cells, *others, *exported))
    after = replace(old, cells=tuple(replace(c, outcome="not-selected") for c in old.cells))
    counts, *lines = printed(before, after, tmp_path)
    assert counts.endswith("; 0 regressions")
    assert lines == []


def test_an_update_keeps_what_the_run_did_not_judge(old: Results, tmp_path: Path) -> None:
    path = write_results(tmp_path / "baseline.json", old)
    run = replace(old, cells=(replace(old.cells[1], outcome="mismatch"),))
    shown = update_baseline(run, path, write=False)
    assert [f.kind for f in shown.regressions] == ["newly-failing"]
    assert read_results(path) == old
    update_baseline(run, path, write=True)
    written = {c.cell_id: c.outcome for c in read_results(path).cells}
    assert written == {c.cell_id: "mismatch" if c == old.cells[1] else "pass" for c in old.cells}


# The options, in a pytest of its own.


@pytest.fixture
def matrix(inner_run: pytest.Pytester) -> pytest.Pytester:
    inner_run.makepyfile(test_cells=TESTS)
    return inner_run


def run(matrix: pytest.Pytester, *options: str) -> pytest.RunResult:
    return matrix.runpytest_inprocess(*PLUGINS, *options)


def last(matrix: pytest.Pytester) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((matrix.path / "report" / "results.json").read_text())
    return data


def test_the_baseline_is_shown_before_it_is_written(matrix: pytest.Pytester) -> None:
    result = run(matrix, "--update-baseline")
    lines = result.outlines
    shown = next(i for i, line in enumerate(lines) if line.startswith("### New cells (4)"))
    wrote = next(i for i, line in enumerate(lines) if line.startswith("wrote "))
    assert shown < wrote
    path = baseline_file(SimpleNamespace(baseline=None, device=""), matrix.path)
    assert lines[wrote] == f"wrote {path}"
    assert len(read_results(path).cells) == 4
    again = run(matrix)
    again.stdout.fnmatch_lines([f"against {path}: 0 newly failing, *; 0 regressions"])


def test_a_regression_fails_the_run_only_if_asked_to(
    matrix: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(matrix, "--update-baseline", "--baseline", "b.json")
    monkeypatch.setenv("HEADROOM", "0.9")
    assert run(matrix, "--baseline", "b.json").ret == pytest.ExitCode.OK
    worse = run(matrix, "--baseline", "b.json", "--fail-on-regression", "--report-dir", "report")
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(["  headroom grew: m1, *: 0.10 -> 0.90*"])
    monkeypatch.setenv("HEADROOM", "0.1")
    fine = run(matrix, "--baseline", "b.json", "--fail-on-regression")
    assert fine.ret == pytest.ExitCode.OK


def test_newly_failing_then_still_failing_then_newly_passing(
    matrix: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--baseline", "b.json", "--report-dir", "report")
    run(matrix, *options, "--update-baseline")
    monkeypatch.setenv("BROKEN", DYNAMIC)
    run(matrix, *options).stdout.fnmatch_lines(
        ["against b.json: 1 newly failing, *; 1 regression", "  newly failing: m2, *-> mismatch*"]
    )
    page = (matrix.path / "report" / "index.html").read_text()
    assert "newly failing" in page
    run(matrix, *options, "--update-baseline")
    still = run(matrix, *options, "--fail-on-regression")
    still.stdout.fnmatch_lines(["  still failing: m2, *"])
    monkeypatch.delenv("BROKEN")
    mended = run(matrix, *options, "--fail-on-regression")
    assert mended.ret == pytest.ExitCode.OK
    mended.stdout.fnmatch_lines(["  newly passing: m2, *mismatch -> pass*"])


def test_what_a_run_cannot_be_compared_with_is_refused_before_it(
    matrix: pytest.Pytester,
) -> None:
    for options in (("--baseline", "no.json"), ("--fail-on-regression",)):
        result = run(matrix, *options)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "make it from a good run with --update-baseline" in str(result.stderr)
    (matrix.path / "bad.json").write_text("{")
    result = run(matrix, "--baseline", "bad.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "text that is not JSON" in str(result.stderr)


def test_a_broken_baseline_that_no_option_names_does_not_end_the_run(
    matrix: pytest.Pytester,
) -> None:
    path = baseline_file(SimpleNamespace(baseline=None, device=""), matrix.path)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    result = run(matrix)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["not compared: *no schema_version*"])


def score(matrix: pytest.Pytester) -> tuple[int, int]:
    planted = last(matrix)["run"]["planted_defects"]
    return planted["caught"], planted["total"]


def test_planted_defects_are_counted(
    matrix: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(matrix, "--report-dir", "report")
    assert score(matrix) == (3, 3)
    assert "3 of 3 planted defects caught" in (matrix.path / "report/index.html").read_text()
    monkeypatch.setenv("SLIPS_THROUGH", "two")
    ended = run(matrix, "--report-dir", "report")
    assert score(matrix) == (2, 3)
    ended.stdout.fnmatch_lines(["planted defects: 2 of 3 caught", "  not caught: two *"])
    assert "| two |" in (matrix.path / "report/planted-defects.md").read_text()
    run(matrix, "--report-dir", "report", "-k", "numbers")
    assert "planted_defects" not in last(matrix)["run"]


def test_github_has_a_summary_and_annotations(
    matrix: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", STATIC)
    assert "::error" not in str(run(matrix).stdout)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(matrix.path / "summary.md"))
    run(matrix).stderr.fnmatch_lines(["*::error *test_cells.py*3 is too much*"])
    assert "PoseDetection" in (matrix.path / "summary.md").read_text()


def test_a_device_has_a_baseline_of_its_own(tmp_path: Path) -> None:
    """Its cells are those of the CPU's runs: compared with theirs, each would be a regression."""

    def path(device: str, given: Path | None = None) -> Path:
        return baseline_file(SimpleNamespace(baseline=given, device=device), tmp_path)

    usual = path("")
    assert usual.parent == tmp_path / "reports" / "baselines"
    assert path("cpu") == usual
    assert path("cuda:1") == path("cuda") == usual.parent / "cuda" / usual.name
    assert path("cuda", tmp_path / "mine.json") == tmp_path / "mine.json"
