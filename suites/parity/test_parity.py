"""What the backend computes is what PyTorch computes: tensors, keypoints, detections."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from poseconform.judgement import (
    MOST_SAME_ARGMAX,
    judge_alive,
    judge_keypoints,
    judge_overlap,
    judge_tensors,
)
from poseconform.judgement_detections import (
    judge_detected_keypoints,
    judge_detections,
    judge_rows,
)
from poseconform.matrix import Cell, Model
from poseconform.metrics import same_argmax_fraction
from poseconform.outcome import LatencyRecord, StageRecord
from poseconform.recording import Notes
from poseconform.session import Judge
from poseconform.tolerance import Tolerance, tolerance_for

DETECTORS = ("yolox-pose", "rtmo")
TOP_DOWN = ("", "simcc")


def tolerance(cell: Cell) -> Tolerance:
    row = tolerance_for(cell.flow.backend, cell.flow.precision)
    assert row is not None, f"no tolerance for {cell.flow.backend} {cell.flow.precision}"
    return row


def test_reference_is_informative(conformance_model: Model, judge: Judge) -> None:
    """Weights whose output ignores the picture would let every other test pass."""
    reference = judge.reference(conformance_model, "fp32")
    if reference.bottom_up:
        counts = [int(truth.stable.sum()) for truth in reference.detections]
        assert min(counts) >= 1, f"stable detections a picture: {counts}"
        boxes = [truth.possible.boxes[:1] for truth in reference.detections]
        assert len({box.tobytes() for box in boxes}) == len(boxes), "the same box in two pictures"
        return
    for name, output in reference.outputs.items():
        assert same_argmax_fraction(output) <= MOST_SAME_ARGMAX, name
    row = tolerance_for("*", "fp32")
    assert row is not None
    assert np.mean(reference.near_ties(row)) < 0.05, "too many near ties to judge keypoints by"


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
    for batch in execution.batches:
        for name, array in batch.outputs.items():
            assert array.shape[0] == len(batch.samples), f"{name}: {array.shape}"


@pytest.mark.stage("finite")
def test_outputs_are_finite_and_depend_on_the_picture(cell: Cell, judge: Judge) -> None:
    verdict = judge_alive(judge.execution(cell), top_down=not cell.model.bottom_up)
    assert not verdict.complaints, "; ".join(verdict.complaints)


@pytest.mark.stage("contract")
def test_names_and_shapes(cell: Cell, judge: Judge) -> None:
    execution = judge.execution(cell)
    inputs, outputs = execution.loaded.inputs, execution.loaded.outputs
    height, width = cell.model.shape
    batch = inputs[0].shape[0]
    assert [i.name for i in inputs] == ["input"]
    assert inputs[0].shape[1:] == (3, height, width)
    assert isinstance(batch, str) == (cell.flow.shape_mode == "dynamic"), f"batch is {batch!r}"
    expected = {
        "": ("output",), "simcc": ("simcc_x", "simcc_y"),
        "yolox-pose": ("dets", "keypoints"), "rtmo": ("dets", "keypoints"),
    }[cell.model.variant]  # fmt: skip
    assert tuple(o.name for o in outputs) == expected
    for info in outputs:
        shapes = {b.outputs[info.name].shape[1:] for b in execution.batches}
        assert shapes == {tuple(info.shape[1:])}, f"{info.name}: declared {info.shape}, ran {shapes}"


@pytest.mark.stage("contract")
@pytest.mark.variants(*DETECTORS)
def test_detections_are_sorted_and_padded_with_zeros(cell: Cell, judge: Judge) -> None:
    verdict = judge_rows(judge.execution(cell))
    assert not verdict.complaints, "; ".join(verdict.complaints)


@pytest.mark.stage("numeric")
def test_numbers_match_pytorch(cell: Cell, judge: Judge, record: Notes) -> None:
    execution, row = judge.execution(cell), tolerance(cell)
    reference = judge.reference(cell.model, cell.flow.precision)
    compare = judge_detections if cell.model.bottom_up else judge_tensors
    verdict = compare(execution, reference, row)
    headrooms = [o.headroom for o in verdict.outputs if o.headroom is not None]
    record(outputs=verdict.outputs, headroom=max(headrooms, default=None))
    assert not verdict.complaints, "; ".join(verdict.complaints)


@pytest.mark.stage("numeric")
@pytest.mark.flows(shape_mode="dynamic")
def test_a_batch_equals_its_parts(cell: Cell, judge: Judge) -> None:
    execution, row = judge.execution(cell), tolerance(cell)
    verdict = judge_overlap(execution, judge.reference(cell.model, cell.flow.precision), row)
    assert not verdict.complaints, "; ".join(verdict.complaints)


@pytest.mark.stage("keypoints")
@pytest.mark.variants(*TOP_DOWN)
def test_keypoints_match_pytorch(cell: Cell, judge: Judge, record: Notes) -> None:
    execution, row = judge.execution(cell), tolerance(cell)
    reference = judge.reference(cell.model, cell.flow.precision)
    rows = {name: execution.rows(name) for name in reference.outputs}
    samples = next(iter(rows.values()))[1]
    decoded = judge.keypoints(cell.model, {name: values for name, (values, _) in rows.items()})
    verdict = judge_keypoints(decoded, samples, reference, row)
    record(keypoint_error_px=verdict.pixels, benign_flips=verdict.benign_flips)
    assert not verdict.complaints, "; ".join(verdict.complaints)


@pytest.mark.stage("keypoints")
@pytest.mark.variants(*DETECTORS)
def test_detected_keypoints_match_pytorch(cell: Cell, judge: Judge, record: Notes) -> None:
    execution, row = judge.execution(cell), tolerance(cell)
    reference = judge.reference(cell.model, cell.flow.precision)
    verdict = judge_detected_keypoints(execution, reference, row)
    record(keypoint_error_px=verdict.pixels, benign_flips=verdict.benign_flips)
    assert not verdict.complaints, "; ".join(verdict.complaints)
