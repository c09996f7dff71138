"""Which checks run on a planted defect, and which of them counts as the one that caught it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.builders import make_cell
from poseconform.checks.declaration import Check, Function, Verdict
from poseconform.judge.judge import Judge
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.planted.defects import Catch, Site, first_failure

JUDGE = cast("Judge", SimpleNamespace())
NOT_MADE = StageFailure("export", "failed", "no")
STATIC, DYNAMIC = make_cell(), make_cell(shape_mode="dynamic")


def finds(*failures: str) -> Function:
    return lambda _judge, _cell: Verdict(failures)


def fails(error: Exception) -> Function:
    def function(_judge: object, _cell: object) -> Verdict:
        raise error

    return function


def caught_by(**functions: Function) -> Catch | None:
    checks = [
        Check(name, "numeric", "parity", function, lambda _cell, _device: True)
        for name, function in functions.items()
    ]
    return first_failure(JUDGE, DYNAMIC, checks)


def test_a_site_holds_the_cells_of_its_models_and_flow() -> None:
    assert Site(("m",), shape_mode="static").holds(STATIC)
    assert not Site(("m",)).holds(STATIC)
    assert Site(("m",)).holds(DYNAMIC)
    assert not Site(("other",)).holds(DYNAMIC)
    assert not Site(("m",), backend="ncnn").holds(DYNAMIC)
    assert not Site(("m",), precision="fp16").holds(DYNAMIC)


def test_the_first_check_that_fails_has_caught_it() -> None:
    caught = caught_by(one=finds(), two=finds("off", "far off"), three=finds("too late"))
    assert caught == Catch("two", "off; far off")
    assert caught_by(one=finds(), two=finds()) is None


def test_the_checks_that_apply_run_where_none_are_named() -> None:
    def conversion(_cell: object) -> None:
        raise NOT_MADE

    judge = cast("Judge", SimpleNamespace(device=lambda _cell: "cpu", conversion=conversion))
    assert first_failure(judge, DYNAMIC) == Catch("converts", "failed in export: no")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StageFailure("load", "failed", "no such file", log_tail="a\nb"), "failed in load: no"),
        (Blocked("run", "no\nanswer"), "blocked: run failed (no)"),
    ],
)
def test_a_stage_that_fails_under_a_check_is_that_check_s_catch(
    error: Exception, message: str
) -> None:
    caught = caught_by(one=finds(), two=fails(error))
    assert caught is not None
    assert caught.check == "two"
    assert caught.message.startswith(message)


def test_a_check_that_breaks_has_caught_nothing() -> None:
    with pytest.raises(KeyError):
        caught_by(one=fails(KeyError("net")))
