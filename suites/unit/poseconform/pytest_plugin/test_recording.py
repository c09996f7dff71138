"""From a test's report to the record of its cell, and to the lines of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.builders import make_cell
from poseconform.expectations.entries import Declarations, Expectation
from poseconform.isolation.child import ChildCrash, ChildFailure, ChildTimeout
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.pytest_plugin.controller import Progress, group_of
from poseconform.pytest_plugin.recording import (
    CELL as PROGRESS,
)
from poseconform.pytest_plugin.recording import (
    XPASS,
    CellTest,
    Notes,
    Recorder,
    base_record,
    failed_stage,
    junit_properties,
    printable,
    stage_result,
)
from poseconform.results.folder import CollectedTest, RunFolder
from poseconform.results.records import CellRecord, StageRecord
from posedeploy.runtime import Availability, Code

CELL = make_cell()
BASE = base_record(CELL, "dynamo", "pytest -k it", "posedeploy")
ENTRY = Expectation("onnxruntime", "m", "*", "*", "numeric", "rounds", "link", source="here")
TESTS = {"t::run": "run", "t::numbers": "numeric"}  # node id -> stage


def report(outcome: str, longrepr: Any = None, **fields: Any) -> pytest.TestReport:
    made = pytest.TestReport(
        nodeid="t.py::test[x]", location=("t.py", 1, "test"), keywords={}, outcome=outcome,  # type: ignore[arg-type]
        longrepr=longrepr, when="call", duration=0.5,
    )  # fmt: skip
    vars(made).update(fields)
    return made


class Run:
    """A run of the two tests of one cell, in a process of its own each time it is made."""

    def __init__(self, path: Path, entries: Iterable[Expectation] = ()) -> None:
        self.folder = RunFolder(path)
        collected = {n: CollectedTest(CELL.id, s, "m") for n, s in TESTS.items()}
        declared = Declarations(entries, lambda _: "1.2", "Linux")
        self.recorder = Recorder(self.folder, collected, declared)

    def start(self, node_id: str) -> CellTest:
        test = CellTest(node_id, CELL, TESTS[node_id], BASE)
        self.recorder.start(test)
        return test

    def end(
        self, node_id: str, made: pytest.TestReport, error: object = None, **fields: Any
    ) -> CellRecord:
        unavailable = fields.pop("unavailable", None)
        notes = Notes(fields, fields.pop("notes", []), unavailable)
        self.recorder.end(CellTest(node_id, CELL, TESTS[node_id], BASE), notes, made, error)
        return self.record

    def __call__(
        self, node_id: str, made: pytest.TestReport, error: object = None, **fields: Any
    ) -> CellRecord:
        self.start(node_id)
        return self.end(node_id, made, error, **fields)

    @property
    def record(self) -> CellRecord:
        state = self.folder.cell(CELL.id)
        assert state is not None
        return state.record


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_base_is_the_cells_identity() -> None:
    assert (BASE.model, BASE.family, BASE.backend) == ("m", "RTMPose", "onnxruntime")
    assert (BASE.exporter, BASE.weights, BASE.tiers) == ("dynamo", "calibrated", ("quick",))
    mine = replace(CELL, model=replace(CELL.model, checkpoint="x.pth"))
    assert base_record(mine, "", "", "").weights == "user"


def test_every_test_appends_to_the_record_on_disk(run: Run) -> None:
    made = report("passed")
    record = run("t::run", made, batches=(1,), notes=[StageRecord("load", 0.1)])
    assert (record.outcome, record.reason) == ("missing", "1 of 2 tests have ended")
    assert getattr(made, PROGRESS) == {"id": CELL.id, "outcome": ""}
    made = report("passed")
    record = run("t::numbers", made, headroom=0.25)
    assert (record.outcome, record.headroom, record.batches) == ("pass", 0.25, (1,))
    assert [(s.name, s.seconds) for s in record.stages] == [
        ("load", 0.1), ("run", 0.5), ("numeric", 0.5),
    ]  # fmt: skip
    assert getattr(made, PROGRESS) == {"id": CELL.id, "outcome": "pass"}


def test_a_stage_that_a_test_has_timed_itself_is_not_timed_again(run: Run) -> None:
    record = run("t::run", report("passed"), notes=[StageRecord("run", 0.1)])
    assert [(s.name, s.seconds) for s in record.stages] == [("run", 0.1)]
    record = run("t::run", report("failed", "trace"), AssertionError("no"))
    assert record.outcome == "failed:run"


def test_another_process_goes_on_with_what_is_on_disk(tmp_path: Path) -> None:
    Run(tmp_path)("t::run", report("passed"), batches=(1,))
    record = Run(tmp_path)("t::numbers", report("passed"), headroom=0.5)
    assert (record.outcome, record.batches, record.headroom) == ("pass", (1,), 0.5)


def test_a_test_in_which_a_process_died_is_not_run_again(tmp_path: Path) -> None:
    Run(tmp_path).start("t::run")
    again = Run(tmp_path)
    with pytest.raises(StageFailure) as caught:
        again.start("t::run")
    assert (caught.value.stage, caught.value.kind) == ("run", "crash")
    record = again.end("t::run", report("failed", "trace", when="setup"), caught.value)
    assert (record.outcome, record.reason) == ("crash", "the process that ran this test died")


def test_a_process_that_died_has_crashed_for_the_next_test(tmp_path: Path) -> None:
    Run(tmp_path).start("t::run")
    record = Run(tmp_path)("t::numbers", report("passed"))
    assert (record.outcome, record.reason) == ("crash", "the process died in t::run")


def test_of_a_declared_failure_the_log_gives_way_to_that_of_another(tmp_path: Path) -> None:
    run = Run(tmp_path, [replace(ENTRY, stage="run", outcome="crash")])
    error = StageFailure("run", "crash", "SIGSEGV", "SIGSEGV")
    assert run("t::run", report("failed", "first"), error).log_tail == "first"
    record = run("t::numbers", report("failed", "second"), AssertionError("3 is too much"))
    assert (record.log_tail, record.outcome) == ("second", "mismatch")
    record = run("t::numbers", report("failed", "third"), AssertionError("3 is too much"))
    assert record.log_tail == "second"


def test_a_declared_failure_is_reported_as_pytest_reports_an_xfail(tmp_path: Path) -> None:
    run, made = Run(tmp_path, [ENTRY]), report("failed", "trace")
    run("t::run", report("passed"))
    record = run("t::numbers", made, AssertionError("3 is too much"))
    assert (made.outcome, made.wasxfail) == ("skipped", "rounds (link)")
    assert (record.outcome, record.reason) == ("xfail", "rounds (link)")
    made = report("failed", "trace")
    record = run("t::numbers", made, ChildCrash("SIGSEGV in x"))
    assert made.outcome == "failed"
    assert not hasattr(made, "wasxfail")
    assert record.outcome == "crash"


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_an_unmet_entry_fails_the_last_test(tmp_path: Path, outcome: str) -> None:
    run = Run(tmp_path, [ENTRY, replace(ENTRY, stage="run")])
    first, made = report("passed"), report(outcome, wasxfail="something else was declared")
    run("t::numbers", first)
    assert first.passed
    record = run("t::run", made, AssertionError("no") if outcome == "skipped" else None)
    note = "numeric passed: rounds (link), declared in here"
    assert made.outcome == "failed"
    assert not hasattr(made, "wasxfail")
    assert made.longrepr.startswith(f"{XPASS}: {note}")  # type: ignore[union-attr]
    assert record.outcome == "xpass"
    assert note in record.reason


def test_a_test_that_failed_keeps_its_own_message(tmp_path: Path) -> None:
    run, made = Run(tmp_path, [ENTRY]), report("failed", "trace")
    run("t::numbers", report("passed"))
    record = run("t::run", made, AssertionError("no"))
    assert made.longrepr == "trace"
    assert made.sections == [(XPASS, "numeric passed: rounds (link), declared in here")]
    assert record.outcome == "failed:run"


def test_a_backend_that_is_unavailable_is_in_the_record(run: Run) -> None:
    absent = Availability(Code.NO_DEVICE, "found none")
    skipped = ("t.py", 1, "Skipped: whatever the words are")
    run("t::run", report("skipped", skipped), unavailable=absent)
    record = run("t::numbers", report("passed"), unavailable=absent)
    assert (record.outcome, record.code, record.reason) == (
        "unavailable:no-device", "no-device", "found none",
    )  # fmt: skip
    assert [stage.name for stage in record.stages] == ["numeric"]


def test_a_skip_adds_what_was_measured_and_no_stage(run: Run) -> None:
    skipped = report("skipped", ("t.py", 1, "Skipped: blocked: load failed (x)"))
    record = run("t::run", skipped, batches=(1,))
    assert (record.stages, record.batches) == ((), (1,))
    record = run("t::numbers", report("skipped", "Skipped: plain"))
    assert (record.outcome, record.reason) == (
        "missing", "selected, but no test returned a result",
    )  # fmt: skip


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("a file where a folder should be")
    with pytest.raises(pytest.exit.Exception, match="could not be written"):
        Run(tmp_path)("t::run", report("passed"))


def test_junit_has_what_was_measured_and_nothing_else() -> None:
    plain = dict(junit_properties(BASE, "run"))
    assert plain["backend"] == CELL.flow.backend
    assert plain["stage"] == "run"
    assert "headroom" not in plain
    assert dict(junit_properties(replace(BASE, headroom=0.25), "numeric"))["headroom"] == 0.25


@pytest.mark.parametrize(
    ("stage", "kind"), [("numeric", "mismatch"), ("sdk", "mismatch"), ("contract", "failed")]
)
def test_an_assertion_is_a_mismatch_where_values_are_compared(stage: str, kind: str) -> None:
    failed = failed_stage(stage, 0.5, AssertionError("3 is too much\nmore"))
    assert (failed.name, failed.outcome, failed.message) == (stage, kind, "3 is too much")


def test_anything_but_an_assertion_compares_nothing() -> None:
    assert failed_stage("numeric", 0.5, LookupError("no tolerance")).outcome == "failed"
    with pytest.raises(pytest.fail.Exception) as caught:
        pytest.fail("too far off")
    assert failed_stage("numeric", 0.5, caught.value).outcome == "mismatch"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ChildCrash("SIGSEGV in reference", "tail"), "crash", "SIGSEGV"),
        (ChildTimeout("timeout: still computing", "tail", code="cpu-time"), "timeout", "cpu-time"),
        (ChildTimeout("hang: no CPU used", "tail", code="hang"), "timeout", "hang"),
        (ChildFailure("ValueError: no", "tail"), "failed", ""),
    ],
)
def test_a_child_that_serves_many_cells_fails_the_stage_that_asked(
    error: ChildFailure, kind: str, code: str
) -> None:
    stage = failed_stage("keypoints", 0.5, error)
    assert (stage.name, stage.outcome, stage.code) == ("keypoints", kind, code)


def test_a_stage_failure_names_its_own_stage() -> None:
    error = StageFailure("load", "crash", "SIGSEGV in load\nmore", "SIGSEGV")
    stage = failed_stage("numeric", 0.5, error)
    assert stage == StageRecord("load", 0.5, "crash", "SIGSEGV in load", "SIGSEGV")


def test_an_error_without_words_is_called_by_its_type() -> None:
    assert failed_stage("run", 0.5, ValueError()).message == "ValueError"
    assert failed_stage("run", 0.5, StageFailure("run", "timeout", "")).message == "timeout"


def test_pytests_own_marks_count() -> None:
    made = report("skipped", "trace", wasxfail="why")
    stage = stage_result("numeric", made, AssertionError("no"))
    assert stage == StageRecord("numeric", 0.5, "mismatch", "why", "", True)
    stage = stage_result("numeric", report("passed", wasxfail="why"), None)
    assert stage == StageRecord("numeric", 0.5, "pass", "why", "", True)
    stage = stage_result("numeric", report("failed", "[XPASS(strict)] why"), None)
    assert stage == StageRecord("numeric", 0.5, "pass", "[XPASS(strict)] why", "", True)


def test_bytes_of_a_log_that_are_no_text_are_shown(run: Run) -> None:
    assert printable("a\udcffb") == "a\\udcffb"
    record = run("t::run", report("failed", "trace \udcff"), AssertionError("\udcff"))
    assert (record.reason, record.log_tail) == ("\\udcff", "trace \\udcff")


@pytest.mark.parametrize(
    ("node_id", "group"),
    [("a.py::test[m-flow]", "m"), ("a.py::test[m]", "m"), ("b.py::C::test", "b.py")],
)
def test_all_tests_of_a_model_go_to_one_worker(node_id: str, group: str) -> None:
    tests = {
        "a.py::test[m-flow]": CollectedTest("m-flow", "run", "m"),
        "a.py::test[m]": CollectedTest(model="m"),
    }
    assert group_of(node_id, tests) == group


class Clock:
    """Seconds that pass when a test sets them."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_cell_is_announced_when_its_last_test_has_ended() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(lines.append, clock)
    progress.start({"a": 2, "b": 1, "c": 1})
    clock.now += 10
    progress.add("a", "")
    assert lines == []
    progress.add("a", "crash")
    assert lines == ["[1/3] a: crash, about 10 s left"]  # 10 s for 2 tests, 2 are left
    clock.now += 5
    progress.add("b", "missing")
    assert lines[1] == "[2/3] b: missing, about 5 s left"
    progress.add("c", "pass")
    assert lines[2] == "[3/3] c: pass"


def test_tests_of_cells_that_were_not_selected_are_not_counted() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, Clock())
    progress.start({"a": 1})
    progress.add("unknown", "pass")
    assert lines == []


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (ChildFailure("ValueError: no", "tail"), "failed", ""),
        (ChildCrash("SIGABRT in run", "tail"), "crash", "SIGABRT"),
        (ChildTimeout("timeout: still computing", "tail", code="cpu-time"), "timeout", "cpu-time"),
        (ChildTimeout("hang: no CPU used", "tail", code="hang"), "timeout", "hang"),
    ],
)
def test_a_childs_failure_becomes_a_stages(failure: ChildFailure, kind: str, code: str) -> None:
    made = StageFailure.from_child("run", failure)
    assert (made.stage, made.kind, made.code, made.log_tail) == ("run", kind, code, "tail")
    assert str(made) == f"{kind} in run: {failure.message}\ntail"
    assert str(StageFailure("load", "failed", "no")) == "failed in load: no"


def test_blocked_names_the_failed_stage_in_one_line() -> None:
    assert str(Blocked("load", "no\nmore")) == "blocked: load failed (no)"
