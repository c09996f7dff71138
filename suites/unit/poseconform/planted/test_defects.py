"""Which checks run on a planted defect, and which of them counts as the one that caught it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.builders import make_cell
from poseconform.compare.tensors import Verdict
from poseconform.judge.judge import Judge
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.planted import defects
from poseconform.planted.defects import Catch, Site, applicable, first_failure

JUDGE = cast("Judge", SimpleNamespace())
STATIC, DYNAMIC = make_cell(), make_cell(shape_mode="dynamic")


def says(*failures: str) -> Any:
    return lambda _judge, _cell: Verdict(failures=failures)


def fails(error: Exception) -> Any:
    def check(_judge: object, _cell: object) -> Verdict:
        raise error

    return check


def with_checks(monkeypatch: pytest.MonkeyPatch, **checks: Any) -> None:
    table = {name: ("numeric", check) for name, check in checks.items()}
    monkeypatch.setattr(defects, "CHECKS", table)


def test_a_site_holds_the_cells_of_its_models_and_flow() -> None:
    assert Site(("m",), shape_mode="static").holds(STATIC)
    assert not Site(("m",)).holds(STATIC)
    assert Site(("m",)).holds(DYNAMIC)
    assert not Site(("other",)).holds(DYNAMIC)
    assert not Site(("m",), backend="ncnn").holds(DYNAMIC)
    assert not Site(("m",), precision="fp16").holds(DYNAMIC)


def test_checks_run_in_the_judge_s_order_where_they_apply() -> None:
    names = applicable(make_cell("rtmo", shape_mode="dynamic"))
    assert names == tuple(defects.CHECKS)
    assert set(names) - set(applicable(DYNAMIC)) == {"padding"}
    assert set(applicable(DYNAMIC)) - set(applicable(STATIC)) == {"batches"}


def test_the_first_check_that_fails_has_caught_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, one=says(), two=says("off", "far off"), three=says("too late"))
    assert first_failure(JUDGE, DYNAMIC) == Catch("two", "off; far off")
    with_checks(monkeypatch, one=says(), two=says())
    assert first_failure(JUDGE, DYNAMIC) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StageFailure("load", "failed", "no such file", log_tail="a\nb"), "failed in load: no"),
        (Blocked("run", "no\nanswer"), "blocked: run failed (no)"),
    ],
)
def test_a_stage_that_fails_under_a_check_is_that_check_s_catch(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    with_checks(monkeypatch, one=says(), two=fails(error))
    caught = first_failure(JUDGE, DYNAMIC)
    assert caught is not None
    assert caught.check == "two"
    assert caught.says.startswith(said)


def test_a_check_that_breaks_has_caught_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, one=fails(KeyError("net")))
    with pytest.raises(KeyError):
        first_failure(JUDGE, DYNAMIC)
