"""What comes out of the backend: finite, by the contract, equal to PyTorch's, and its keypoints.

Each check picks the comparison for the model: tensors of a top-down model, or matched detections.
"""

from __future__ import annotations

from poseconform.checks.declaration import (
    Verdict,
    check,
    differences,
    in_two_levels,
    with_sizes,
)
from poseconform.checks.decoded import (
    judge_decoded_keypoints,
    judge_decoded_overlap,
    judge_scores,
)
from poseconform.checks.detections import (
    judge_detected_keypoints,
    judge_detection_overlap,
    judge_detections,
    judge_rows,
)
from poseconform.checks.tensors import (
    combined,
    judge_finite,
    judge_keypoints,
    judge_overlap,
    judge_tensors,
)
from poseconform.compare.tolerances import Tolerance, tolerance_for
from poseconform.judge.judge import Judge
from poseconform.judge.runs import Execution
from poseconform.matrix.cells import Cell
from poseconform.reference.heads import reference_head
from poseconform.reference.values import Reference


@check(stage="finite", suite="parity")
def finite(judge: Judge, cell: Cell) -> Verdict:
    """Outputs are finite, not constant, and depend on the image."""
    peaks = reference_head(cell.model.head).has_peaks and not cell.flow.keypoints
    return judge_finite(judge.execution(cell), peaks=peaks)


@check(stage="contract", suite="parity")
def names_and_shapes(judge: Judge, cell: Cell) -> Verdict:
    """Inputs and outputs have the contract's names, and the shapes that they declare.

    A shape of `()` declares nothing: a runtime that knows it after a run only. Whether it is the
    right one, `tensors` checks. Dimensions without a size, the order of outputs and how many rows
    they have are rules of ours.
    """
    execution = judge.execution(cell)
    inputs, outputs = execution.loaded.inputs, execution.loaded.outputs
    names, head = tuple(info.name for info in outputs), reference_head(cell.model.head)
    # where the rest is done on the host, the outputs may come in any order
    expected = names if head.leaves_suppression(names) else cell.flow.keypoints or head.outputs
    shape, wanted = inputs[0].shape, (3, *cell.model.shape)
    # what, found, expected, and whether it makes results wrong or breaks a rule of ours alone
    compared: list[tuple[str, object, object, bool]] = [
        ("input names", [i.name for i in inputs], ["input"], len(inputs) != 1),
        ("output names", names, expected, not set(expected) <= set(names)),
        ("input shape", shape[1:], wanted, with_sizes(shape[1:], wanted) != wanted),
        ("dynamic batch", isinstance(shape[0], str), cell.flow.shape_mode == "dynamic", True),
    ]
    for info in outputs:
        ran = [batch.outputs[info.name].shape for batch in execution.batches]
        if declared := tuple(info.shape[1:]):
            shapes = {shape[1:] for shape in ran}
            wrong = any(with_sizes(declared, shape) != shape for shape in shapes)
            compared.append((f"shape of {info.name}", shapes, {declared}, wrong))
        sizes = [len(batch.samples) for batch in execution.batches]
        compared.append((f"batch of {info.name}", [shape[0] for shape in ran], sizes, True))
    # a graph that holds suppression has a row for as many people as its configs promise
    promised = cell.model.max_detections or cell.flow.max_detections
    dets = execution.batches[0].outputs.get("dets")
    if promised and dets is not None:
        compared.append(("rows of dets", dets.shape[1], promised, False))
    if dets is not None:
        # with one class or with several; whether a class is right, `tensors` checks
        compared.append(("5 or 6 columns of dets", dets.shape[2] in {5, 6}, True, True))
    return in_two_levels(
        judge,
        differences(row[:3] for row in compared if row[3]),
        differences(row[:3] for row in compared if not row[3]),
    )


def _pads_detections(cell: Cell, _device: str) -> bool:
    """Graphs that hold suppression; the judge pads the other ones' detections itself."""
    return cell.model.bottom_up and not cell.flow.host_suppression


@check(stage="contract", suite="parity", applies=_pads_detections)
def padding(judge: Judge, cell: Cell) -> Verdict:
    """Detections descend by score and are padded with zero rows: rules of ours.

    Rows of others may be in any order. Whether theirs are people, `tensors` checks.
    """
    return in_two_levels(judge, (), judge_rows(judge.execution(cell)).failures)


def _measured(judge: Judge, cell: Cell) -> tuple[Execution, Reference, Tolerance]:
    """A cell's outputs, what PyTorch computes, and how much they may differ."""
    execution = judge.execution(cell)  # first: if it fails, its failure is the one to report
    reference = judge.reference(cell.model, cell.flow.precision)
    return execution, reference, tolerance_for(cell.flow.backend, cell.flow.precision)


@check(stage="numeric", suite="parity")
def tensors(judge: Judge, cell: Cell) -> Verdict:
    """Tensors, or matched detections, against PyTorch in float64."""
    if cell.flow.keypoints:
        return judge_scores(*_measured(judge, cell), cell.flow.keypoints)
    measured = _measured(judge, cell)
    _, reference, _ = measured
    if not cell.model.bottom_up:
        return judge_tensors(*measured)
    detections = judge_detections(*measured, cell.model.score_thr)
    return combined(judge_tensors(*measured), detections) if reference.outputs else detections


def _has_batches(cell: Cell, _device: str) -> bool:
    return cell.flow.shape_mode == "dynamic"


@check(stage="numeric", suite="parity", applies=_has_batches)
def batches(judge: Judge, cell: Cell) -> Verdict:
    """A batch equals its parts."""
    if cell.flow.keypoints:
        return judge_decoded_overlap(*_measured(judge, cell), cell.flow.keypoints)
    measured = _measured(judge, cell)
    _, reference, _ = measured
    if cell.model.bottom_up and not reference.outputs:
        return judge_detection_overlap(*measured)
    return judge_overlap(*measured)


@check(stage="keypoints", suite="parity")
def keypoints(judge: Judge, cell: Cell) -> Verdict:
    """Keypoints in px of the input."""
    if cell.flow.keypoints:
        return judge_decoded_keypoints(*_measured(judge, cell), cell.flow.keypoints)
    execution, reference, row = _measured(judge, cell)
    if cell.model.bottom_up:
        return judge_detected_keypoints(execution, reference, row)
    rows = {name: execution.rows(name) for name in reference.outputs}
    samples = next(iter(rows.values()))[1]
    decoded = judge.keypoints(cell.model, {name: values for name, (values, _) in rows.items()})
    return judge_keypoints(decoded, samples, reference, row)
