"""CoreML packages on any machine: what they declare, and what the judge itself computes from them.

On macOS the suites `parity` and `sdk_model` judge Apple's runtime as well; elsewhere these numbers
are the only ones, and the record names the evaluator.
"""

from __future__ import annotations

import pytest

from fixtures.coreml_packages import package_facts
from poseconform.checks.declaration import Check
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.checking import perform_evaluating
from poseconform.pytest_plugin.recording import Notes

pytestmark = [pytest.mark.anywhere, pytest.mark.flows(backend="coreml")]

OLDEST_VERSION = 7  # of the specification: iOS 16, the first with float16 inputs and outputs


@pytest.mark.stage("contract")
def test_the_package_has_the_precision_of_its_flow(cell: Cell, judge: Judge) -> None:
    facts = package_facts(judge.conversion(cell).folder / "end2end.mlpackage")
    assert facts.kind == "mlProgram"
    assert facts.specification_version >= OLDEST_VERSION
    assert facts.element_types == ({"float32"} if cell.flow.precision == "fp32" else {"float16"})


@pytest.mark.checks("finite", "names_and_shapes", "tensors", "keypoints")
def test_package_evaluated(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform_evaluating(check, judge, cell, record)
