"""Tests from declared checks: which there are, and what they record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.builders import make_cell
from poseconform.checks.declaration import Check, Verdict
from poseconform.judge.judge import Judge
from poseconform.pytest_plugin.checking import parameters, perform, perform_evaluating
from poseconform.pytest_plugin.recording import Notes
from poseconform.results.records import StageRecord
from posedeploy.runtime import Availability, Code

CELL = make_cell(backend="ncnn")
JUDGE = cast("Judge", SimpleNamespace())


def pairs(*names: str, suite: str = "", device: str = "cpu", **flow: str) -> list[Any]:
    marker = pytest.mark.checks(*names, suite=suite).mark
    definition = SimpleNamespace(iter_markers=lambda _name: iter([marker]))
    metafunc = cast("pytest.Metafunc", SimpleNamespace(definition=definition))
    return list(parameters(metafunc, [make_cell(**flow)], lambda _cell: device))


def finds(verdict: Verdict) -> Check:
    return Check(
        "one", "run", "parity", lambda _judge, _cell: verdict, lambda _cell, _device: True
    )


def test_a_test_is_named_by_its_check_and_its_cell() -> None:
    (converts,) = pairs(suite="conversion", backend="ncnn")
    assert converts.id == f"converts][{CELL.id}"
    marks = {mark.name: mark.args for mark in converts.marks}
    assert marks["stage"] == ("convert",)
    assert {"anywhere", "ncnn", "fp32", "static"} <= set(marks)


def test_only_checks_that_apply_are_collected() -> None:
    ids = [pair.id.partition("]")[0] for pair in pairs(suite="parity", backend="onnxruntime")]
    assert ids == ["runs", "finite", "names_and_shapes", "tensors", "keypoints"]
    on_device = pairs(suite="parity", backend="onnxruntime", device="cuda:0")
    assert "placement" in {pair.id.partition("]")[0] for pair in on_device}


def test_checks_can_be_named_one_by_one() -> None:
    named = pairs("keypoints", "tensors", "padding")
    assert [pair.values[1].name for pair in named] == ["tensors", "keypoints"]


def test_what_was_measured_is_recorded_on_a_failure_too() -> None:
    record, load = Notes(), StageRecord("load", 0.5)
    with pytest.raises(AssertionError, match="off; far off"):
        perform(
            finds(Verdict(("off", "far off"), stages=(load,), headroom=2.0)), JUDGE, CELL, record
        )
    assert (record.fields, record.stages) == ({"headroom": 2.0}, [load])


def test_a_refusal_skips_the_test_with_its_code() -> None:
    with pytest.raises(pytest.skip.Exception, match="refused:no-figures: there are none"):
        perform(finds(Verdict(refusal="no-figures: there are none")), JUDGE, CELL, Notes())


@pytest.mark.parametrize("runs_here", [True, False])
def test_the_judges_own_numbers_are_recorded_where_the_backend_cannot_run(runs_here: bool) -> None:
    loaded = SimpleNamespace(effective_options={"evaluator": "own"})
    judge: Any = SimpleNamespace(execution=lambda _cell: SimpleNamespace(loaded=loaded))
    judge.evaluating = lambda _cell: judge
    record = Notes(unavailable=None if runs_here else Availability(Code.WRONG_OS, "a Mac"))
    perform_evaluating(finds(Verdict(headroom=0.5)), judge, CELL, record)
    own = {"effective_options": {"evaluator": "own"}, "headroom": 0.5}
    assert record.fields == ({} if runs_here else own)
