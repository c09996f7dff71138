"""The SDK model folder: its JSON describes the files, and a client finds mmpose's keypoints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.declaration import (
    Verdict,
    check,
    differences,
    in_two_levels,
    with_sizes,
)
from poseconform.checks.overlay import overlay
from poseconform.checks.tensors import as_record
from poseconform.compare.metrics import (
    Detections,
    keypoint_distances,
    match_detections,
    other_classes,
    pixel_distances,
)
from poseconform.compare.tolerances import NEAR_TIES, SDK_P99_PX, Tolerance, tolerance_for
from poseconform.judge.judge import Judge
from poseconform.judge.stages import StageFailure
from poseconform.matrix.cells import Cell
from poseconform.reference.heads import Grouping, reference_head
from poseconform.reference.values import DetectionTruth, Reference
from poseconform.subject.clients import ClientAnswer
from poseconform.subject.folders import leaves_folder
from posedeploy.paths import file_sha256

CLIENT_SAMPLES = 3  # images that go through a client; each one is a whole pipeline
IMAGES_DRAWN = 1  # for the report
PEOPLE_DRAWN = 3  # of an image: more would hide each other
IMAGE_MATCH_PX = 8.0  # an image is at most some four times the input's size


@check(stage="sdk", suite="sdk_model")
def deploy_json(judge: Judge, cell: Cell) -> Verdict:
    """`deploy.json` and `pipeline.json` describe the files as they are.

    The precision is a rule of ours: MMDeploy writes FP32 for most backends, whatever is in them.
    """
    folder = judge.conversion(cell).folder
    loaded = judge.execution(cell).loaded
    model = json.loads((folder / "deploy.json").read_text(encoding="utf-8"))["models"][0]
    net = _task(judge, cell, "Net")
    files = [name for name in (model["net"], model.get("weights")) if name]
    outputs = {key for i, info in enumerate(loaded.outputs) for key in (info.name, f"#{i}")}
    return in_two_levels(judge, differences([
        ("deploy.json: backend", model["backend"], cell.flow.backend),
        ("deploy.json: dynamic_shape", model.get("dynamic_shape"),
         isinstance(loaded.inputs[0].shape[0], str)),
        ("pipeline.json: name of the net", net.get("name"), model.get("name")),
        ("files that are missing", [n for n in files if not (folder / n).is_file()], []),
        ("files outside the folder", [n for n in files if leaves_folder(n)], []),
        ("files that detail.json has another checksum of", _changed(folder), []),
        ("pipeline.json: input_map",
         net.get("input_map", {}).get("img") in {"#0", loaded.inputs[0].name}, True),
        ("pipeline.json: output_map: no outputs of the graph",
         [t for t in net.get("output_map", {}).values() if t not in outputs], []),
    ]), differences([
        ("deploy.json: precision", model.get("precision"), cell.flow.precision.upper()),
    ]))  # fmt: skip


def _changed(folder: Path) -> list[str]:
    """Files of the backend that are not those that `detail.json` has checksums of, if any.

    The JSON files may be edited: what they say is checked, here and by the client's keypoints.
    """
    if not (folder / "detail.json").is_file():
        return []
    detail = json.loads((folder / "detail.json").read_text(encoding="utf-8"))
    recorded = detail.get("posedeploy", {}).get("files", {})
    return [
        name
        for name, file in recorded.items()
        if name not in {"deploy.json", "pipeline.json"}
        and (
            leaves_folder(name)
            or not (folder / name).is_file()
            or file_sha256(folder / name) != file["sha256"]
        )
    ]


@check(stage="sdk", suite="sdk_model")
def pre_processing_shape(judge: Judge, cell: Cell) -> Verdict:
    """The pipeline resizes to the graph's input."""
    steps = {t.get("type"): t for t in _task(judge, cell, "Transform").get("transforms", ())}
    name = "BottomupResize" if cell.model.bottom_up else "TopDownAffine"
    if name not in steps:
        return Verdict(differences([("resizing step", list(steps), f"{name} among them")]))
    size = steps[name].get("input_size" if cell.model.bottom_up else "image_size", ())
    height, width = judge.execution(cell).loaded.inputs[0].shape[2:]
    expected = with_sizes((height, width), cell.model.shape)
    return Verdict(differences([("size of the resizing step", tuple(size[::-1]), expected)]))


@check(stage="sdk", suite="sdk_model")
def client(judge: Judge, cell: Cell) -> Verdict:
    """Keypoints through the SDK client against mmpose's own, in image px."""
    answers = judge.client_answers(cell, CLIENT_SAMPLES)
    reference = judge.reference(cell.model, cell.flow.precision)
    row = tolerance_for(cell.flow.backend, cell.flow.precision)
    verdict = judge_client(answers, reference, row, _max_people(judge, cell))
    images = tuple(
        overlay(
            sample.image,
            _highest(reference.image_keypoints[i], reference.image_scores[i]),
            _highest(answer.keypoints, answer.scores),
            sample.name,
        )
        for i, (sample, answer) in enumerate(
            zip(judge.samples, answers[:IMAGES_DRAWN], strict=False)
        )
    )
    return replace(verdict, images=images)


def _highest(keypoints: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """Keypoints of the people with the highest scores."""
    return keypoints[np.argsort(-scores, kind="stable")[:PEOPLE_DRAWN]]


def _max_people(judge: Judge, cell: Cell) -> int:
    """How many people a client can give for an image: the graph's rows, or the host's limit."""
    if not cell.model.bottom_up:
        return 1
    if isinstance(reference_head(cell.model.head).kind, Grouping):
        return sys.maxsize  # whoever the model finds
    params = _tasks(judge, cell)[-1]["params"]
    execution = judge.execution(cell)
    names = [info.name for info in execution.loaded.outputs]
    if reference_head(cell.model.head).leaves_suppression(names):
        return int(params["keep_top_k"])
    return int(execution.rows("dets")[0].shape[1])


def _tasks(judge: Judge, cell: Cell) -> list[dict[str, Any]]:
    text = (judge.conversion(cell).folder / "pipeline.json").read_text(encoding="utf-8")
    tasks: list[dict[str, Any]] = json.loads(text)["pipeline"]["tasks"]
    return tasks


def _task(judge: Judge, cell: Cell, module: str) -> dict[str, Any]:
    """The task of a module. Fails at 'sdk' where the pipeline has none."""
    modules = [task.get("module") for task in _tasks(judge, cell)]
    if module not in modules:
        message = f"pipeline.json: found tasks of {modules}; expected one of {module}"
        raise StageFailure("sdk", "failed", message)
    return _tasks(judge, cell)[modules.index(module)]


def judge_client(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance, max_people: int
) -> Verdict:
    """Compare the answers for the first samples, one each, with the reference's image keypoints.

    A client can give at most `max_people` for an image.
    """
    if not answers:
        return Verdict(("the client gave no answer",))
    if reference.bottom_up:
        distances, failures = _bottom_up(answers, reference, row, max_people)
    else:
        distances, failures = _top_down(answers, reference, row)
    worst = pixel_distances(distances)
    if not np.isfinite(distances).all():
        failures.append("a keypoint through the SDK client is not finite")
    elif row.gate_keypoints and not worst.p99 <= SDK_P99_PX:
        failures.append(
            f"keypoints through the SDK client are {worst.p99:.3g} px off at the 99th percentile "
            f"(at most {worst.max:.3g} px); allowed {SDK_P99_PX} px"
        )
    return Verdict(tuple(failures), sdk_client_error_px=as_record(worst))


def _top_down(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance
) -> tuple[NDArray[np.float64], list[str]]:
    ties = reference.near_ties(row)
    if reference.selected is not None:
        ties = ties[:, reference.selected]
    parts, failures = [], []
    for i, answer in enumerate(answers):
        shape, expected = answer.keypoints.shape, reference.image_keypoints[i]
        if shape != expected.shape:
            failures.append(
                f"sample {i}: keypoints {list(shape)}; expected {list(expected.shape)}"
            )
            continue
        distances = keypoint_distances(answer.keypoints, expected)
        parts.append(distances[~ties[i] | ~np.isfinite(distances)])
        if row.gate_tensors and answer.keypoint_scores is not None:
            failures += _wrong_scores(i, answer.keypoint_scores, reference, row)
    return np.concatenate(parts) if parts else np.zeros(0), failures


def _wrong_scores(
    i: int, scores: NDArray[np.float64], reference: Reference, row: Tolerance
) -> list[str]:
    """A failure if scores `[1, K]` are not those that mmpose's codec gives sample `i`.

    A score is a value of an output, or less steep than one: it may be as far off, and as far again
    for pre-processing. Of selected keypoints (`output_keypoint_indices`) none are compared.
    """
    expected = reference.scores[i][None]
    if scores.shape != expected.shape:
        return []
    limit = 2 * max(reference.allowed(name, row).max for name in reference.outputs)
    worst = float(np.abs(scores - expected).max())
    if worst <= limit:
        return []
    return [f"sample {i}: a score of a keypoint is {worst:.3g} off; allowed {limit:.3g}"]


def _bottom_up(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance, max_people: int
) -> tuple[NDArray[np.float64], list[str]]:
    parts, failures = [], []
    for i, answer in enumerate(answers):
        got = _people(answer.keypoints, answer.scores, answer.labels)
        expected = _expected(reference, i)
        rows, columns = match_detections(got, expected, IMAGE_MATCH_PX)
        truth = reference.detections[i]
        unsure = int((~truth.stable).sum())
        strange = len(got) - len(rows) > unsure or (len(rows) == 0 and len(expected) > 0)
        if strange and row.gate_tensors:
            failures.append(
                f"sample {i}: {len(got) - len(rows)} of {len(got)} people are not among the "
                f"reference's {len(expected)} (near ties within "
                f"{NEAR_TIES[row.precision].iou} IoU: {unsure})"
            )
        lost = missing_people(columns, reference.image_scores[i], truth, max_people)
        if lost and row.gate_tensors:
            failures.append(
                f"sample {i}: {lost} people of the reference are missing among {len(got)} "
                f"(there is room for {max_people})"
            )
        wrong, _ = other_classes(got.select(rows), expected.select(columns))
        if wrong.any() and row.gate_tensors:
            failures.append(
                f"sample {i}: {int(wrong.sum())} of {len(rows)} people have another class than "
                "the reference's (near ties not counted)"
            )
        distances = keypoint_distances(got.keypoints[rows], expected.keypoints[columns])
        if reference.keypoint_ties:
            ties = reference.keypoint_ties[i][columns]
            distances = distances[~ties | ~np.isfinite(distances)]
        parts.append(distances.ravel())
    return np.concatenate(parts), failures


def missing_people(
    matched: NDArray[np.intp], scores: NDArray[np.float64], truth: DetectionTruth, max_people: int
) -> int:
    """How many of the reference's people, of scores `[P]`, a client lacks and no near tie excuses.

    A client can give `max_people`; each near tie can push one more out.
    """
    stable = truth.stable[truth.base]  # by descending score, as `possible` is
    order = np.argsort(-scores, kind="stable")
    sure = max(0, max_people - int((~truth.stable).sum()))
    lost = ~np.isin(order, matched) & stable
    return int(lost[:sure].sum())


def _people(
    keypoints: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
    class_ties: NDArray[np.bool_] | None = None,
) -> Detections:
    nothing = np.zeros((len(scores), 4)), np.zeros(keypoints.shape[:2])
    return Detections(nothing[0], scores, keypoints, nothing[1], labels, class_ties)


def _expected(reference: Reference, i: int) -> Detections:
    """The reference's people in image px; near ties of classes are known by falling score."""
    scores, truth = reference.image_scores[i], reference.detections[i]
    order, ties = np.argsort(-scores, kind="stable"), np.zeros(len(scores), bool)
    if truth.possible.class_ties is not None:
        ties[order] = truth.possible.class_ties[truth.base]
    return _people(reference.image_keypoints[i], scores, reference.image_labels[i], ties)
