"""CoreML packages on any machine: what they declare, and what the judge itself computes from them.

On macOS the suites `parity` and `sdk_model` judge Apple's runtime as well; elsewhere these are the
only numbers there are, and the record says who computed them.
"""

from __future__ import annotations

import pytest

from poseconform.checks import table as checks
from poseconform.evaluators.mil import package_facts
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import Notes

pytestmark = [pytest.mark.anywhere, pytest.mark.flows(backend="coreml")]

OLDEST_VERSION = 7  # of the specification: iOS 16, the first with float16 inputs and outputs


@pytest.mark.stage("contract")
def test_the_package_has_the_precision_of_its_flow(cell: Cell, judge: Judge) -> None:
    facts = package_facts(judge.conversion(cell).folder / "end2end.mlpackage")
    assert facts.kind == "mlProgram"
    assert facts.specification_version >= OLDEST_VERSION
    assert facts.element_types == ({"float32"} if cell.flow.precision == "fp32" else {"float16"})


@pytest.mark.stage("contract")
def test_the_package_has_the_names_and_shapes_of_the_contract(cell: Cell, judge: Judge) -> None:
    checks.require(checks.names_and_shapes(judge.evaluating(cell), cell))


@pytest.mark.stage("finite")
def test_what_is_evaluated_depends_on_the_image(cell: Cell, judge: Judge) -> None:
    checks.require(checks.alive(judge.evaluating(cell), cell))


@pytest.mark.stage("numeric")
def test_what_is_evaluated_matches_pytorch(cell: Cell, judge: Judge, record: Notes) -> None:
    evaluating = judge.evaluating(cell)
    verdict = checks.numbers(evaluating, cell)
    if record.unavailable:  # where CoreML runs, its own numbers are the cell's
        headrooms = [o.headroom for o in verdict.outputs if o.headroom is not None]
        options = evaluating.execution(cell).loaded.effective_options
        record(
            outputs=verdict.outputs,
            headroom=max(headrooms, default=None),
            effective_options=dict(options),
        )
    checks.require(verdict)


@pytest.mark.stage("keypoints")
def test_keypoints_of_what_is_evaluated_match_pytorch(
    cell: Cell, judge: Judge, record: Notes
) -> None:
    verdict = checks.keypoints(judge.evaluating(cell), cell)
    if record.unavailable:
        record(keypoint_error_px=verdict.pixels, benign_flips=verdict.benign_flips)
    checks.require(verdict)
