"""What GitHub is told of a run, and that nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from poseconform.report.page.sample import sample_results
from poseconform.report.text.github import (
    MAX_ANNOTATIONS,
    MAX_ROWS,
    error_commands,
    publish,
    step_summary,
)

RESULTS = sample_results(60)


def test_failing_cells_are_annotated_the_worst_first() -> None:
    said = list(error_commands(RESULTS))
    assert said[0].startswith(
        "::error title=crash%3A hrnet_v1_coco_256x192%2C openvino-bf16-dynamic::made-up failure"
    )
    assert "%0Apython -m pytest" in said[0]
    assert [line.split("%3A")[0] for line in said] == [
        "::error title=crash",
        "::error title=mismatch",
        "::error title=missing",
    ]


def test_hostile_strings_cannot_add_a_command() -> None:
    evil = "x\n::set-env name=A::b\r100%"
    cell = replace(RESULTS.cells[0], outcome="crash", stages=(), model=evil, reason=evil)
    (said,) = error_commands(replace(RESULTS, cells=(cell,)))
    assert "\n" not in said
    assert "\r" not in said
    assert "100%25" in said


def test_long_lists_are_cut() -> None:
    cells = tuple(replace(c, outcome="crash", stages=()) for c in sample_results(60).cells)
    bad = replace(RESULTS, cells=cells)
    assert len(list(error_commands(bad))) == MAX_ANNOTATIONS
    assert f"and {60 - MAX_ROWS} cells more." in step_summary(bad)


def test_the_summary_has_verdict_table_and_failures() -> None:
    text = step_summary(RESULTS)
    assert text.startswith("## 2 of 44 cells fail: 1 crash, 1 mismatch.\n")
    assert "| HRNet | PoseDetection |" in text
    assert text.count("made-up failure") == 2


def test_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(summary)}
    assert publish(RESULTS, environment) == ()
    assert not summary.exists()
    assert len(publish(RESULTS, environment | {"GITHUB_ACTIONS": "true"})) == 3
    assert summary.read_text() == step_summary(RESULTS)
    assert len(publish(RESULTS, {"GITHUB_ACTIONS": "true"})) == 3
