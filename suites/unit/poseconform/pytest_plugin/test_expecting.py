"""Declared failures during a run: what is excused, and which entry met nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from poseconform.pytest_plugin.expecting import Expected, fail_report

from fixtures.builders import make_cell
from poseconform.expectations.entries import SYSTEMS, Expectation, this_system
from poseconform.isolation.child import ChildCrash
from poseconform.pytest_plugin.recording import XPASS, base_record
from poseconform.results.records import CellRecord, StageRecord

CELL, OTHER = make_cell(name="one"), make_cell(name="two")
ENTRY = Expectation("onnxruntime", "one", "*", "*", "numeric", "rounds", "link", source="here")
WRONG = StageRecord("numeric", 0.0, "mismatch")


def expected(
    *entries: Expectation, tests: int = 2, version: str = "1.2", system: str = "Linux"
) -> Expected:
    asked: list[str] = []

    def version_of(backend: str) -> str:
        asked.append(backend)
        assert backend == "onnxruntime"
        return version

    return Expected(entries, {CELL.id: tests, OTHER.id: 1}, version_of, system)


def partial(*stages: StageRecord) -> CellRecord:
    return replace(base_record(CELL, "", ""), stages=stages)


def test_a_failure_is_excused_by_the_entry_about_it() -> None:
    tracker = expected(replace(ENTRY, stage="sdk"), ENTRY)
    assert tracker.excuse(CELL, WRONG) == ENTRY
    assert tracker.excuse(OTHER, WRONG) is None
    assert tracker.excuse(CELL, replace(WRONG, outcome="crash")) is None
    assert expected().excuse(CELL, WRONG) is None


def test_conditions_are_about_this_machine() -> None:
    new, mac = replace(ENTRY, version=">=1.2"), replace(ENTRY, os="macos")
    assert expected(new).excuse(CELL, WRONG) == new
    assert expected(new, version="1.1").excuse(CELL, WRONG) is None
    assert expected(mac).excuse(CELL, WRONG) is None
    assert expected(mac, system="Darwin").excuse(CELL, WRONG) == mac


def test_a_version_is_asked_for_only_where_an_entry_names_one() -> None:
    def nobody(backend: str) -> str:
        raise AssertionError(backend)

    assert Expected([ENTRY], {CELL.id: 1}, nobody).excuse(CELL, WRONG) == ENTRY


PASSED = StageRecord("numeric")


@pytest.mark.parametrize(
    ("parts", "unmet"),
    [
        ([partial(PASSED)], False),  # a test is still to come
        ([partial(PASSED), None], True),
        ([None, partial(PASSED)], True),
        ([partial(PASSED), partial(StageRecord("sdk"))], True),
        ([partial(WRONG), partial(PASSED)], False),
        ([partial(PASSED), partial(WRONG)], False),
        ([None, None], False),  # nothing was judged
        ([partial(StageRecord("sdk")), partial(StageRecord("run"))], False),
        ([partial(replace(PASSED, outcome="skipped")), None], False),
    ],
)
def test_an_entry_is_unmet_when_all_tests_have_ended_and_its_stage_passed(
    parts: Sequence[CellRecord | None], unmet: bool
) -> None:
    tracker = expected(ENTRY, replace(ENTRY, model="two"), replace(ENTRY, stage="load"))
    found = [tracker.ended(CELL, part) for part in parts]
    assert not any(found[:-1])
    assert found[-1] == ((ENTRY,) if unmet else ())


def test_cells_are_watched_apart() -> None:
    tracker = expected(replace(ENTRY, model="*"))
    assert tracker.ended(CELL, partial(PASSED)) == ()
    assert tracker.ended(OTHER, partial(WRONG)) == ()
    assert tracker.ended(CELL, None) != ()


def report(outcome: str = "failed", **fields: Any) -> pytest.TestReport:
    made = pytest.TestReport("t", ("t.py", 1, "t"), {}, outcome, "trace", "call")  # type: ignore[arg-type]
    vars(made).update(fields)
    return made


def test_a_report_is_excused_as_pytest_writes_an_xfail() -> None:
    made = report()
    expected(ENTRY).excuse_report(CELL, "numeric", made, AssertionError("3 is too much"))
    assert (made.outcome, made.wasxfail) == ("skipped", "rounds (link)")
    for stage, error in (("sdk", AssertionError("no")), ("numeric", ChildCrash("SIGSEGV in x"))):
        made = report()
        expected(ENTRY).excuse_report(CELL, stage, made, error)
        assert made.outcome == "failed"
        assert not hasattr(made, "wasxfail")


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_an_unmet_entry_fails_the_last_test(outcome: str) -> None:
    made = report(outcome, wasxfail="something else was declared")
    found = fail_report([ENTRY, replace(ENTRY, stage="sdk")], made, partial(PASSED))
    note = "numeric passed: rounds (link), declared in here; sdk passed: rounds (link), "
    assert made.outcome == "failed"
    assert not hasattr(made, "wasxfail")
    assert made.longrepr == f"{XPASS} {note}declared in here"
    assert (found.outcome, found.reason) == ("xpass", f"{note}declared in here")
    assert found.stages == (PASSED,)


def test_a_test_that_passed_without_any_mark_can_fail_too() -> None:
    made = report("passed")
    assert fail_report([ENTRY], made, partial(PASSED)).outcome == "xpass"
    assert made.outcome == "failed"


def test_unless_told_the_system_is_this_one() -> None:
    mine = replace(ENTRY, os=SYSTEMS[this_system()])
    tracker = Expected([mine], {CELL.id: 1}, lambda _: "")
    assert tracker.excuse(CELL, WRONG) == mine


def test_a_test_that_failed_keeps_its_own_words() -> None:
    made, part = report(), partial(WRONG)
    assert fail_report([ENTRY], made, part) is part
    assert made.longrepr == "trace"
    assert made.sections == [(XPASS, "numeric passed: rounds (link), declared in here")]
