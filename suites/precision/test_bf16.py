"""Flows in bf16 are judged by PyTorch in bf16: no deploy config asks for it, OpenVINO can do it.

OpenVINO's default on a CPU with bf16 units is bf16, so people run it whether they know or not.
What is honest in bf16 must pass by the rows of that precision, and by those of fp32 it must fail.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from poseconform.checks.table import CHECKS
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import build_cells
from poseconform.matrix.weights import with_weights

CHECKED = ("tensors", "accuracy")
MODELS = {
    "hrnet_w32": "openvino_static-256x192",
    "litehrnet_18": "openvino_static-256x192",
    "rtmpose_t": "simcc_openvino_static-256x192",
    "simcc_mobilenetv2": "simcc_openvino_static-256x192",
}


@pytest.mark.fp32  # of whose files they are made
@pytest.mark.openvino
@pytest.mark.parametrize("model", MODELS)
def test_what_openvino_computes_in_bf16_is_judged_as_bf16(judge: Judge, model: str) -> None:
    computes = judge.availabilities.of("openvino", inference_precision="bf16")
    if not computes.ok:
        pytest.skip(f"unavailable:{computes.code}: {computes.reason}")
    flows = [f for f in judge.subject.flows() if f.label == MODELS[model]]
    (exact,) = with_weights(
        build_cells(judge.subject.models([model]), flows), "fitted", judge.subject.locating_weights
    )
    cell = replace(exact, flow=replace(exact.flow, precision="bf16"))
    folder = judge.convert(exact)  # the run may know the same cell with other weights
    as_bf16 = judge.with_conversion(cell, folder)
    found = {name: CHECKS[name](as_bf16, cell) for name in CHECKED}
    print(model, found["accuracy"].accuracy)
    for output in found["tensors"].outputs:
        assert output.ratio is not None
        assert output.rms is not None
        assert output.ref32_rms is not None
        rms = output.rms / output.ref32_rms
        print(output.name, f"{output.ratio:.2f} / {rms:.2f} of autocast's")
    assert {name: verdict.failures for name, verdict in found.items()} == dict.fromkeys(
        CHECKED, ()
    )
    as_fp32 = judge.with_conversion(exact, folder).with_options(exact, as_bf16.options_of(cell))
    failures = {name: CHECKS[name](as_fp32, exact).failures for name in ("precision", "tensors")}
    assert failures["precision"]
    assert any("exceeds the allowed" in line for line in failures["tensors"])
