"""All checks, in the order in which the judge runs them on a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poseconform.checks import (
    accuracy,
    conversion,
    layers,
    numeric,
    people,
    sdk,
    session,
    stressed,
)
from poseconform.checks.declaration import Check, Verdict, declared_in
from poseconform.matrix.cells import Cell
from poseconform.results.outcome import STAGES

# ---- modify this list to add a module of checks ------------------------------------------------
MODULES = (conversion, session, numeric, layers, accuracy, stressed, people, sdk)
# ------------------------------------------------------------------------------------------------

CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in sorted(declared_in(MODULES), key=lambda check: STAGES.index(check.stage))
}
# What decides the outcome of a cell; a labeled data set takes minutes and is a suite of its own.
VERDICT_SUITES = ("conversion", "parity", "sdk_model")


def applicable(cell: Cell, device: str, suites: Iterable[str] = VERDICT_SUITES) -> list[Check]:
    """The checks of some suites that can fail for a cell on a device."""
    wanted = set(suites)
    return [c for c in CHECKS.values() if c.suite in wanted and c.applies(cell, device)]


def require(verdict: Verdict) -> Verdict:
    """The verdict itself; its failures, if any, are raised as an `AssertionError`."""
    if verdict.failures:
        raise AssertionError("; ".join(verdict.failures))
    return verdict
