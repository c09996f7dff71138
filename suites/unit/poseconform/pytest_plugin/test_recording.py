"""From a test's report to what it says of its cell, and to the lines of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fixtures.builders import make_cell
from poseconform.isolation.child import ChildCrash, ChildFailure, ChildTimeout
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.pytest_plugin.progress import Progress, count_tests
from poseconform.pytest_plugin.recording import (
    Notes,
    base_record,
    cell_id_of,
    complete,
    junit_properties,
    partial_record,
    skip_reason,
)
from poseconform.results.records import CellRecord, StageRecord, merge_partials

CELL = make_cell()
BASE = base_record(CELL, "dynamo", "pytest -k it")


def report(outcome: str, longrepr: Any = None, **fields: Any) -> pytest.TestReport:
    made = pytest.TestReport(
        nodeid="t.py::test[x]", location=("t.py", 1, "test"), keywords={}, outcome=outcome,  # type: ignore[arg-type]
        longrepr=longrepr, when="call", duration=0.5,
    )  # fmt: skip
    vars(made).update(fields)
    return made


def partial(stage: str, made: pytest.TestReport, error: object = None) -> CellRecord:
    record = partial_record(BASE, stage, Notes(), made, error)
    assert record is not None
    return record


def test_a_base_is_the_cells_identity() -> None:
    assert (BASE.model, BASE.family, BASE.backend) == ("m", "RTMPose", "onnxruntime")
    assert (BASE.exporter, BASE.weights, BASE.tiers) == ("dynamo", "calibrated", ("quick",))
    mine = replace(CELL, model=replace(CELL.model, checkpoint="x.pth"))
    assert base_record(mine, "", "").weights == "user"


def test_a_pass_carries_what_was_noted() -> None:
    notes = Notes()
    notes(headroom=0.25)
    notes.stages.append(StageRecord("load", 0.1))
    record = partial_record(BASE, "run", notes, report("passed"), None)
    assert record is not None
    assert (record.outcome, record.headroom) == ("pass", 0.25)
    assert [(s.name, s.seconds) for s in record.stages] == [("load", 0.1), ("run", 0.5)]


def test_junit_is_told_what_was_measured_and_nothing_else() -> None:
    plain = dict(junit_properties(BASE, "run"))
    assert plain["backend"] == CELL.flow.backend
    assert plain["stage"] == "run"
    assert "headroom" not in plain
    assert dict(junit_properties(replace(BASE, headroom=0.25), "numeric"))["headroom"] == 0.25


@pytest.mark.parametrize(
    ("stage", "kind"), [("numeric", "mismatch"), ("sdk", "mismatch"), ("contract", "failed")]
)
def test_an_assertion_is_a_mismatch_where_numbers_are_compared(stage: str, kind: str) -> None:
    record = partial(stage, report("failed", "trace"), AssertionError("3 is too much\nmore"))
    assert [(s.name, s.outcome, s.message) for s in record.stages] == [
        (stage, kind, "3 is too much")
    ]
    assert record.log_tail == "trace"
    expected = kind if kind == "mismatch" else "failed:contract"
    assert merge_partials([record]).outcome == expected


def test_anything_but_an_assertion_compares_nothing() -> None:
    record = partial("numeric", report("failed", "trace"), LookupError("no tolerance"))
    assert [(s.name, s.outcome) for s in record.stages] == [("numeric", "failed")]
    assert merge_partials([record]).outcome == "failed:numeric"
    with pytest.raises(pytest.fail.Exception) as caught:
        pytest.fail("too far off")
    record = partial("numeric", report("failed", "trace"), caught.value)
    assert record.stages[0].outcome == "mismatch"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ChildCrash("SIGSEGV in reference", "tail"), "crash", "SIGSEGV"),
        (ChildTimeout("no answer", "tail"), "timeout", ""),
        (ChildFailure("ValueError: no", "tail"), "failed", ""),
    ],
)
def test_a_child_that_serves_many_cells_fails_the_stage_that_asked(
    error: ChildFailure, kind: str, code: str
) -> None:
    (stage,) = partial("keypoints", report("failed", "trace"), error).stages
    assert (stage.name, stage.outcome, stage.code) == ("keypoints", kind, code)


def test_a_stage_failure_names_its_own_stage() -> None:
    error = StageFailure("load", "crash", "SIGSEGV in load\nmore", "SIGSEGV")
    record = partial("numeric", report("failed", "trace"), error)
    assert [(s.name, s.outcome, s.code) for s in record.stages] == [("load", "crash", "SIGSEGV")]
    assert record.stages[0].message == "SIGSEGV in load"


def test_an_error_without_words_is_called_by_its_type() -> None:
    record = partial("run", report("failed", ""), ValueError())
    assert record.stages[0].message == "ValueError"
    silent = partial("run", report("failed", ""), StageFailure("run", "timeout", ""))
    assert silent.stages[0].message == "timeout"


def test_a_declared_failure_is_an_xfail_and_its_absence_an_xpass() -> None:
    record = partial("numeric", report("skipped", "trace", wasxfail="why"), AssertionError("no"))
    assert (record.outcome, record.stages[0].expected) == ("xfail", True)
    assert (record.reason, record.stages[0].message) == ("why", "no")
    assert partial("numeric", report("passed", wasxfail="why")).outcome == "xpass"
    strict = partial("numeric", report("failed", "[XPASS(strict)] why"))
    assert (strict.outcome, strict.reason) == ("xpass", "why")


def test_a_skip_with_a_code_is_unavailable_and_any_other_says_nothing() -> None:
    skipped = report("skipped", ("t.py", 1, "Skipped: unavailable:no-device: found none"))
    record = partial("load", skipped)
    assert (record.outcome, record.code, record.reason) == (
        "unavailable:no-device", "no-device", "found none",
    )  # fmt: skip
    blocked = report("skipped", ("t.py", 1, "Skipped: blocked: load failed (x)"))
    assert partial_record(BASE, "run", Notes(), blocked, None) is None
    assert skip_reason(report("skipped", "Skipped: plain")) == "plain"


@pytest.mark.parametrize(
    ("node", "name"),
    [("a.py::test[m-x_static]", "m-x_static"), ("a.py::test", ""), ("a.py::C::test[m]", "m")],
)
def test_the_cell_of_a_node_id(node: str, name: str) -> None:
    assert cell_id_of(node) == name


def test_every_cell_of_the_matrix_has_a_record() -> None:
    judged, lost, left = (make_cell(name=name) for name in ("judged", "lost", "left"))
    made = replace(base_record(judged, "", ""), outcome="pass")
    selected = {judged.id: 1, lost.id: 1}
    found = complete([judged, lost, left], selected, [made, made], "")
    assert {record.model: record.outcome for record in found} == {
        "judged": "pass", "lost": "missing", "left": "not-selected",
    }  # fmt: skip
    assert next(r for r in found if r.model == "lost").reason


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_cell_is_announced_when_its_last_test_has_ended() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(lines.append, clock)
    progress.start({"a": 2, "b": 1, "c": 1})
    clock.now += 10
    passed = replace(BASE, outcome="pass", stages=(StageRecord("run"),))
    progress.add("a", passed)
    assert lines == []
    progress.add("a", replace(BASE, outcome="crash", reason="SIGSEGV"))
    assert lines == ["[1/3] a: crash, about 10 s left"]  # 10 s for 2 tests, 2 are left
    clock.now += 5
    progress.add("b", None)
    assert lines[1] == "[2/3] b: nothing to judge, about 5 s left"
    progress.add("c", passed)
    assert lines[2] == "[3/3] c: pass"


def test_tests_of_no_cell_are_not_counted() -> None:
    assert count_tests(["a", "", "a", "b"]) == {"a": 2, "b": 1}
    lines: list[str] = []
    progress = Progress(lines.append, Clock())
    progress.start({"a": 1})
    progress.add("unknown", None)
    assert lines == []


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (ChildFailure("ValueError: no", "tail"), "failed", ""),
        (ChildCrash("SIGABRT in run", "tail"), "crash", "SIGABRT"),
        (ChildTimeout("no answer", "tail"), "timeout", ""),
    ],
)
def test_a_childs_failure_becomes_a_stages(failure: ChildFailure, kind: str, code: str) -> None:
    made = StageFailure.from_child("run", failure)
    assert (made.stage, made.kind, made.code, made.log_tail) == ("run", kind, code, "tail")
    assert str(made) == f"{kind} in run: {failure.message}\ntail"
    assert str(StageFailure("load", "failed", "no")) == "failed in load: no"


def test_blocked_says_by_what_in_one_line() -> None:
    assert str(Blocked("load", "no\nmore")) == "blocked: load failed (no)"
