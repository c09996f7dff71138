"""The summary of a GitHub job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fixtures.sample_results import sample_results
from poseconform.report.text.github import MAX_ROWS, publish, step_summary

RESULTS = sample_results(60)


def test_hostile_strings_are_inert() -> None:
    evil = "x\n::set-env name=A::b|<b>"
    cell = replace(RESULTS.cells[0], outcome="crash", stages=(), model=evil, reason=evil)
    text = step_summary(replace(RESULTS, cells=(cell,)))
    assert "\n::set-env" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| x ::set")]
    assert row.replace("\\|", "").count("|") == 6


def test_long_lists_are_cut() -> None:
    cells = tuple(replace(c, outcome="crash", stages=()) for c in sample_results(60).cells)
    assert f"and {60 - MAX_ROWS} cells more." in step_summary(replace(RESULTS, cells=cells))


def test_an_interrupted_run_is_named() -> None:
    text = step_summary(replace(RESULTS, run={"interrupted": "SIGTERM"}))
    assert "The run was interrupted (SIGTERM)." in text.splitlines()[2]


def test_the_summary_has_verdict_table_and_failures() -> None:
    text = step_summary(RESULTS)
    assert text.startswith("## 5 of 45 cells fail: 1 crash, 1 failed in load, 2 mismatch, 1 unex")
    assert "| HRNet | PoseDetection |" in text
    assert text.count("made-up failure") == 4


def test_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(summary)}
    publish(RESULTS, environment)
    publish(RESULTS, {"GITHUB_ACTIONS": "true"})
    assert not summary.exists()
    publish(RESULTS, environment | {"GITHUB_ACTIONS": "true"})
    assert summary.read_text() == step_summary(RESULTS)
