"""What OpenVINO computes in bf16 passes by the rows of bf16, and must fail by those of fp32.

Its default on a CPU with bf16 units is bf16, so people run it whether they know or not.
"""

from __future__ import annotations

import pytest

from poseconform.checks.table import CHECKS
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell, build_cells
from poseconform.matrix.weights import with_weights

CHECKED = ("tensors", "accuracy")
MODELS = {
    "hrnet_w32": "openvino{}_static-256x192",
    "rtmpose_t": "simcc_openvino{}_static-256x192",
    "simcc_mobilenetv2": "simcc_openvino{}_static-256x192",
}


def locating_cell(judge: Judge, model: str, precision: str) -> Cell:
    flows = [f for f in judge.subject.flows() if f.label == MODELS[model].format(precision)]
    cells = build_cells(judge.subject.models([model]), flows)
    (cell,) = with_weights(cells, "locating", judge.subject.locating_weights)
    return cell


@pytest.mark.fp32  # of whose files they are made
@pytest.mark.openvino
@pytest.mark.parametrize("model", MODELS)
def test_what_openvino_computes_in_bf16_is_judged_as_bf16(judge: Judge, model: str) -> None:
    computes = judge.availabilities.of("openvino", inference_precision="bf16")
    if not computes.ok:
        pytest.skip(f"unavailable:{computes.code}: {computes.reason}")
    cell, exact = locating_cell(judge, model, "-bf16"), locating_cell(judge, model, "")
    folder = judge.convert(cell)  # the run may know the same cell with other weights
    as_bf16 = judge.with_conversion(cell, folder)
    failures = {name: CHECKS[name](as_bf16, cell).failures for name in CHECKED}
    assert failures == dict.fromkeys(CHECKED, ())
    as_fp32 = judge.with_conversion(exact, folder).with_options(exact, judge.options_of(cell))
    failures = {name: CHECKS[name](as_fp32, exact).failures for name in ("precision", "tensors")}
    assert failures["precision"]
    assert any("exceeds the allowed" in line for line in failures["tensors"])
