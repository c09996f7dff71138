"""What the backend computes is what PyTorch computes: tensors, keypoints, detections."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from poseconform.checks import table as checks
from poseconform.checks.contract import placement
from poseconform.compare.metrics import same_argmax_fraction
from poseconform.compare.tensors import MOST_SAME_ARGMAX
from poseconform.compare.tolerances import tolerance_for
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell, Model
from poseconform.pytest_plugin.recording import Notes
from poseconform.results.records import LatencyRecord, StageRecord

MOST_NEAR_TIES = 0.05  # of all keypoints; more, and a flip could hide


def test_reference_is_informative(conformance_model: Model, judge: Judge) -> None:
    """Weights whose output ignores the image would let every other test pass."""
    reference = judge.reference(conformance_model, "fp32")
    if reference.bottom_up:
        counts = [int(truth.stable.sum()) for truth in reference.detections]
        assert min(counts) >= 1, f"stable detections a image: {counts}"
        boxes = [truth.possible.boxes[:1] for truth in reference.detections]
        assert len({box.tobytes() for box in boxes}) == len(boxes), "the same box in two images"
        return
    for name, output in reference.outputs.items():
        assert same_argmax_fraction(output) <= MOST_SAME_ARGMAX, name
    row = tolerance_for("*", "fp32")
    assert row is not None
    assert np.mean(reference.near_ties(row)) <= MOST_NEAR_TIES


@pytest.mark.stage("run")
def test_loads_and_runs(cell: Cell, judge: Judge, record: Notes) -> None:
    execution = judge.execution(cell)
    loaded = execution.loaded
    record.stages.append(StageRecord("load", loaded.seconds))
    single = [1000 * b.seconds for b in execution.batches if len(b.samples) == 1]
    spread = np.percentile(single, [25, 75]) if len(single) > 1 else (0.0, 0.0)
    record(
        effective_options=dict(loaded.effective_options),
        latency_ms=LatencyRecord(
            statistics.median(single), float(spread[1] - spread[0]), len(single)
        ),
        batches=tuple(sorted({len(b.samples) for b in execution.batches})),
    )
    checks.require(checks.runs(judge, cell))


@pytest.mark.stage("run")
def test_runs_in_the_precision_that_is_claimed(cell: Cell, judge: Judge) -> None:
    checks.require(checks.precision(judge, cell))


@pytest.mark.stage("run")
def test_no_node_fell_back_to_the_cpu(cell: Cell, judge: Judge) -> None:
    checks.require(placement(judge, cell))


@pytest.mark.stage("finite")
def test_outputs_are_finite_and_depend_on_the_image(cell: Cell, judge: Judge) -> None:
    checks.require(checks.alive(judge, cell))


@pytest.mark.stage("contract")
def test_names_and_shapes(cell: Cell, judge: Judge) -> None:
    checks.require(checks.names_and_shapes(judge, cell))


@pytest.mark.stage("contract")
@pytest.mark.variants("yolox-pose", "rtmo")
def test_detections_are_sorted_and_padded_with_zeros(cell: Cell, judge: Judge) -> None:
    checks.require(checks.padding(judge, cell))


@pytest.mark.stage("numeric")
def test_numbers_match_pytorch(cell: Cell, judge: Judge, record: Notes) -> None:
    verdict = checks.numbers(judge, cell)
    headrooms = [o.headroom for o in verdict.outputs if o.headroom is not None]
    record(outputs=verdict.outputs, headroom=max(headrooms, default=None))
    checks.require(verdict)


@pytest.mark.stage("numeric")
@pytest.mark.flows(precision="int8")
def test_quantized_layers_are_close_to_their_float_twins(
    cell: Cell, judge: Judge, record: Notes
) -> None:
    verdict = checks.layers(judge, cell)
    record(layers=verdict.layers)
    checks.require(verdict)


@pytest.mark.stage("numeric")
@pytest.mark.flows(shape_mode="dynamic")
def test_a_batch_equals_its_parts(cell: Cell, judge: Judge) -> None:
    checks.require(checks.batches(judge, cell))


@pytest.mark.stage("keypoints")
def test_keypoints_match_pytorch(cell: Cell, judge: Judge, record: Notes) -> None:
    verdict = checks.keypoints(judge, cell)
    record(keypoint_error_px=verdict.pixels, benign_flips=verdict.benign_flips)
    checks.require(verdict)


@pytest.mark.stage("keypoints")
@pytest.mark.flows(precision=("fp16", "bf16", "int8"))
def test_keypoints_stay_on_the_figures(cell: Cell, judge: Judge, record: Notes) -> None:
    verdict = checks.accuracy(judge, cell)
    record(accuracy=verdict.accuracy, keypoint_error_px=verdict.pixels)
    refused = verdict.accuracy
    if refused is not None and refused.code:
        pytest.skip(f"refused:{refused.code}: {refused.reason}")
    checks.require(verdict)
