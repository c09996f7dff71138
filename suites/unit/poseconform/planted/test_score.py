"""The score of planted defects: counted from tests' reports, shown in text, Markdown and HTML."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.sample_results import sample_results
from poseconform.planted.score import (
    FILE,
    PROPERTY,
    Score,
    Trial,
    summary_lines,
    table_lines,
    write_table,
)
from poseconform.report.build import build_report
from poseconform.report.data.merge import merge_results
from poseconform.report.data.planted import planted_of, trust_of, without_planted
from poseconform.results.results import new_results, write_results

LINK = "https://example.org/issues/1"
SCALED = Trial("scaled", "weights", "a-cell", "numbers", LINK)


def report(trial: Trial | str, outcome: str = "passed", **fields: Any) -> pytest.TestReport:
    text = trial if isinstance(trial, str) else trial.to_text()
    known = {
        "when": "call", "passed": outcome == "passed", "skipped": outcome == "skipped",
        "user_properties": [("other", 1), (PROPERTY, text)],
    }  # fmt: skip
    return cast("pytest.TestReport", SimpleNamespace(**known | fields))


def scored(*reports: pytest.TestReport) -> dict[str, Any]:
    score = Score()
    for one in reports:
        score.add(one)
    return score.facts()


def test_a_trial_survives_its_way_through_a_report() -> None:
    assert Trial.from_text(SCALED.to_text()) == SCALED
    assert Trial.from_text("bare name") == Trial("bare name")


def test_a_run_without_defects_has_no_score() -> None:
    assert scored() == {}
    assert [*summary_lines({})] == []
    assert [*table_lines({})] == []


def test_a_defect_counts_as_caught_if_it_was_in_every_cell() -> None:
    elsewhere = Trial("scaled", "weights", "b-cell", "numbers", LINK)
    shifted = Trial("shifted", "graph", "a-cell", "numbers")
    facts = scored(report(SCALED), report(elsewhere, "failed"), report(shifted))
    planted = facts["planted_defects"]
    assert (planted["caught"], planted["total"]) == (1, 2)
    assert planted["rows"][0] == {
        "name": "scaled", "where": "weights", "check": "numbers", "link": LINK,
        "cells": ["a-cell", "b-cell"], "caught": False,
    }  # fmt: skip
    assert [*summary_lines(facts)] == [
        "planted defects: 1 of 2 caught",
        "  not caught: scaled (a-cell, b-cell)",
    ]


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"outcome": "skipped"}, False),  # its backend is not here
        ({"outcome": "skipped", "wasxfail": "no check can tell"}, True),
        ({"outcome": "failed", "when": "setup"}, False),
        ({"outcome": "failed"}, True),
    ],
)
def test_what_was_not_tried_does_not_count_and_what_was_missed_does(
    fields: dict[str, Any], counted: bool
) -> None:
    facts = scored(report(SCALED, **fields))
    expected = {"caught": 0, "total": 1} if counted else {}
    assert {k: facts.get("planted_defects", {}).get(k) for k in expected} == expected
    assert bool(facts) is counted


def test_what_cannot_be_told_is_said_with_its_ratio() -> None:
    limit = Trial("epsilon", cell="a-cell", ratio=0.2345)
    facts = scored(report(SCALED), report(limit))
    assert facts["planted_defects"]["total"] == 1
    said = "  not detectable: epsilon (a-cell): 0.23 of the allowed error"
    assert [*summary_lines(facts)][1:] == [said]
    assert "| epsilon | a-cell | 0.23 |" in [*table_lines(facts)]
    # that it could be told after all is a failing test, and no statement about the limit
    told = scored(report(SCALED), report(limit, "failed"))
    assert told["planted_defects"]["not_detectable"] == []


def test_the_table_is_written_beside_the_report(tmp_path: Path) -> None:
    facts = scored(report(SCALED), report(Trial("a|b", "graph", "c", "finite"), "failed"))
    (path,) = write_table(tmp_path / "new", facts)
    assert path == tmp_path / "new" / FILE
    lines = path.read_text().splitlines()
    assert "1 of 2 planted defects caught." in lines
    assert any(line.startswith("| scaled | weights | a-cell | numbers | yes |") for line in lines)
    assert any(line.startswith(r"| a\|b | graph | c | finite | NO |") for line in lines)
    assert write_table(tmp_path / "none", {}) == []
    assert not (tmp_path / "none").exists()


def test_the_page_shows_what_slipped_through_first_and_what_cannot_be_told_last(
    tmp_path: Path,
) -> None:
    shifted = Trial("shifted <b>", "graph", "a-cell", "numbers", "javascript:alert(1)")
    limit = Trial("epsilon", cell="a-cell", ratio=0.5)
    facts = scored(report(SCALED), report(shifted, "failed"), report(limit))
    rows = planted_of(facts)
    assert [(r.name, r.verdict) for r in rows] == [
        ("shifted <b>", "not caught"), ("scaled", "caught"), ("epsilon", "not detectable"),
    ]  # fmt: skip
    assert [r.link for r in rows] == ["", LINK, ""]
    assert trust_of(facts) == "1 of 2 planted defects caught"
    results = new_results(sample_results(3).cells, environment={}, run=facts)
    build_report(write_results(tmp_path / "results.json", results), tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "shifted &lt;b&gt;" in page
    assert f'href="{LINK}"' in page
    assert "javascript:alert" not in page.split('<script type="application/json"')[0]


def test_results_of_other_makers_are_read_with_care() -> None:
    assert trust_of({"planted_defects": "many"}) == ""
    assert planted_of({"planted_defects": {"caught": 1, "total": 1}}) == ()


def test_defects_have_a_table_of_their_own_and_are_not_listed_among_the_facts() -> None:
    facts = {"seconds": 3, **scored(report(SCALED))}
    assert without_planted(facts) == {"seconds": 3}
    assert without_planted({"runners": {"a": facts}}) == {"runners": {"a": {"seconds": 3}}}


def test_a_merge_keeps_every_runner_s_rows() -> None:
    results = [
        new_results(sample_results(3).cells, environment={}, run=scored(report(SCALED)))
        for _ in range(2)
    ]
    planted = merge_results({"a": results[0], "b": results[1]}).run["planted_defects"]
    assert (planted["caught"], planted["total"], len(planted["rows"])) == (2, 2, 2)
