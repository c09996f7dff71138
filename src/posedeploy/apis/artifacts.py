"""Any artifact against PyTorch: an SDK model folder or zip, or the bare file of a backend.

The stages are the judge's. `run`, `finite`, `numeric` and `keypoints` look at the graph with what
the model config says around it; `contract` and `sdk` at the folder, as a client reads it. So the
first stage that differs tells where a fault lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posedeploy.apis.comparing import Compared, compare_people
from posedeploy.apis.graphs import Graph, backend_files, files_of, make_graph
from posedeploy.apis.numeric import Detection, Numbers, compare_numbers
from posedeploy.apis.progress import Progress, at_stage, silent
from posedeploy.apis.proving import Response, figures, probes, response
from posedeploy.apis.reference import Reference, with_classes
from posedeploy.apis.sources import LOCATING, resolve_checkpoint, resolve_model_config
from posedeploy.apis.verdict import (
    FIGURES,
    Outcome,
    compare_images,
    draw_compared,
    outcome_of,
)
from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.paths import scratch_folder
from posedeploy.precision.images import model_preprocessor
from posedeploy.runtime import Device, device_of
from posedeploy.sdk.archive import MARK, locate
from posedeploy.sdk.checks import Finding, Level
from posedeploy.sdk.checks.detail import check_facts
from posedeploy.sdk.folder import JSON_FILES, SdkModel, read_folder
from posedeploy.sdk.images import MOST_PIXELS, Image
from posedeploy.sdk.pose_detector import PoseDetector
from posedeploy.sdk.reading import ImageSource
from posedeploy.sdk.validate import validate
from posedeploy.sdk.writer import model_facts

if TYPE_CHECKING:
    from torch import nn

    from posedeploy.sdk.poses import Poses

DETECTIONS = ("dets", "keypoints")  # outputs of a graph that chooses the people
MEASURED = 4  # images that numbers are compared on, the drawn ones among them


@dataclass(frozen=True)
class StageVerdict:
    """One stage: what was wrong, or what was seen where nothing is."""

    stage: str  # 'load', 'run', 'finite', 'contract', 'numeric', 'keypoints' or 'sdk'
    faults: tuple[str, ...] = ()
    facts: str = ""

    @property
    def passed(self) -> bool:
        """True if nothing was wrong."""
        return not self.faults


@dataclass(frozen=True)
class ArtifactComparison:
    """An artifact compared with PyTorch.

    `compared` has one entry an image, for a folder as a client reads it, and for a bare file with
    the decoding of the model config; it is empty where a stage before it left nothing to compare.
    `notes` are what `validate` warns of.
    """

    artifact: Path
    backend: str
    precision: str
    stages: tuple[StageVerdict, ...]
    compared: tuple[Compared, ...] = ()
    numbers: Numbers = field(default_factory=Numbers)
    response: Response = field(default_factory=Response)
    notes: tuple[str, ...] = ()
    drawn: tuple[Path, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What the comparison has shown."""
        if not all(stage.passed for stage in self.stages):
            return Outcome.DIFFERENT
        return outcome_of(self.compared, self.response)


@dataclass(frozen=True)
class Pytorch:
    """The model that an artifact is said to be."""

    model: nn.Module  # mmpose's, in eval mode
    config: ModelConfig
    kind: str  # the checkpoint, or the word for generated weights


def compare_artifact(
    artifact: str | Path,
    model_cfg: str | Path,
    checkpoint: str | Path | None,
    images: Sequence[ImageSource] = (),
    *,
    outputs: Mapping[str, str] | None = None,
    precision: str | None = None,
    device: str | None = None,
    draw_into: str | Path | None = None,
    progress: Progress = silent,
) -> ArtifactComparison:
    """Compare an artifact, whoever made it, with PyTorch.

    Args:
        artifact: An SDK model folder, a file in it or a zip of it; or a backend's file: `.onnx`,
            `.xml`, `.param`, `.engine`, `.pt`, `.mlpackage` or `.tflite`.
        model_cfg: A path, or a name in the zoo.
        checkpoint: As `sources.resolve_checkpoint` takes it.
        images: Files, or arrays `[H, W, 3]` uint8, BGR; none takes drawn figures.
        outputs: Name in the contract ('simcc_x') -> name in the graph of a backend's file, which
            is otherwise found out by names and shapes.
        precision: 'fp32', 'fp16', 'bf16' or 'int8' of a backend's file; None reads it.
        device: Where it runs; None takes the backend's own.
        draw_into: Folder for drawings of both sides, made if missing; None draws nothing.
        progress: Called when a stage begins or ends.

    Raises:
        BadInputError: A config, the checkpoint, an image or the artifact is not what it should be,
            or the artifact is of another kind of model.
        UnavailableError: The backend does not run here.
    """
    from posedeploy.zoo.build import build_model, check_forward

    config = load_model_config(resolve_model_config(model_cfg))
    path, word = Path(artifact), precision or ""
    sdk = _detector(path, device or "") if _is_sdk_model(path) else None
    for option, value in (("--outputs", outputs), ("--precision", precision)):
        if sdk and value:
            raise BadInputError(
                option, f"{value}, with the SDK model {path}", "it for a backend's file alone",
                "Leave it out: the folder's JSON has it. Or copy the file elsewhere.",
            )  # fmt: skip
    # whatever is wrong with the artifact is told before anything takes long
    given = files_of(sdk, config.head_kind) if sdk else backend_files(path, word)
    with at_stage("checkpoint", progress):
        weights = resolve_checkpoint(model_cfg, checkpoint)
    with at_stage("model", progress):
        model = build_model(config, weights)
        check_forward(model, config)
    pytorch = Pytorch(model, config, str(checkpoint))
    names: tuple[str, ...] = ()
    if not images and pytorch.kind not in LOCATING:
        images = tuple(figures(config, FIGURES))
        names = tuple(f"drawn figure {i}" for i in range(len(images)))
    with at_stage("compare", progress), scratch_folder("compare") as scratch:
        folder = scratch / "graph"
        folder.mkdir()
        graph = make_graph(
            given if sdk else replace(given, outputs=outputs), model, config, folder,
            checkpoint=str(weights), device=device or "",
        )  # fmt: skip
        done = _compare(path, sdk, graph, pytorch, images=images, names=names)
        if draw_into is not None:
            drawn = sdk.model if sdk else read_folder(graph.folder)
            Path(draw_into).mkdir(parents=True, exist_ok=True)
            written = draw_compared(Path(draw_into), drawn, images, done.compared)
            done = replace(done, drawn=written)
    return done


def _is_sdk_model(path: Path) -> bool:
    """Whether it is an SDK model: a folder, a zip, or a file that belongs to its folder's model.

    Raises:
        BadInputError: It is another folder, or a zip without one.
    """
    folder, unpacked = locate(path)
    if path == folder and path.is_dir() and path.suffix != ".mlpackage":
        read_folder(path)  # says what is missing
        return True
    if unpacked or not (folder / MARK).is_file():
        return unpacked is not None
    entry = read_folder(folder).model
    return path.name in {*JSON_FILES, entry.net, entry.weights}


def _detector(path: Path, device: str) -> PoseDetector:
    model = read_folder(path)
    used = Device.parse(device_of(model.model.backend, model.precision, device))
    return PoseDetector(path, used.kind, used.index, max_pixels=MOST_PIXELS)


def _compare(
    path: Path,
    sdk: PoseDetector | None,
    graph: Graph,
    pytorch: Pytorch,
    *,
    images: Sequence[ImageSource],
    names: Sequence[str],
) -> ArtifactComparison:
    """The stages, one after the other, up to one that leaves nothing to compare."""
    detector = _detector(graph.folder, graph.device)
    entry, precision = detector.model.model, str(detector.model.precision)
    reference = Reference(pytorch.model, pytorch.config, (entry.backend, precision))
    findings = _findings(sdk.model, pytorch.config) if sdk else []
    told = [str(f).partition(": ")[2] for f in findings if f.level is Level.WARNING]
    outputs = ", ".join(detector.bound_outputs.values())
    stages = [StageVerdict("load", facts=f"{entry.backend} {precision}, outputs {outputs}")]
    responded = response(detector, images)
    done = ArtifactComparison(
        path, entry.backend, precision, (), response=responded, notes=tuple(told)
    )
    if not responded.faults:
        stages.append(_ran(detector, probes(detector, images), reference))
    stages.append(StageVerdict("finite", responded.faults, "finite, other ones for other images"))
    if sdk:
        wrong = tuple(str(f).partition(": ")[2] for f in findings if f.level is Level.ERROR)
        stages.append(
            StageVerdict("contract", wrong, "the folder says what the model config says")
        )
    if responded.faults:
        return replace(done, stages=tuple(stages))
    numbers = _numbers(detector, graph, pytorch.config, images)
    stages.append(_numeric(numbers))
    done = replace(done, numbers=numbers, stages=tuple(stages))
    if not numbers.outputs:
        return done
    compared = compare_images(detector, reference, images, kind=pytorch.kind, names=names)
    stages.append(_keypoints("keypoints", compared))
    if sdk:
        try:
            compared = compare_images(sdk, reference, images, kind=pytorch.kind, names=names)
            stages.append(_keypoints("sdk", compared))
        except BadInputError as error:  # the images and the graph were used before
            fault = f"{error.subject}: found {error.found}; expected {error.expected}"
            stages.append(StageVerdict("sdk", (fault,)))
    return replace(done, stages=tuple(stages), compared=compared)


def _ran(detector: PoseDetector, images: Iterator[Image], reference: Reference) -> StageVerdict:
    """Two images in one call give what each gives alone, where the graph takes two."""
    if detector.regions_in_a_call < 2:
        return StageVerdict("run", facts="one image in a call")
    both, faults = list(islice(images, 2)), []
    try:
        detector.outputs(*both)
    except BadInputError as error:
        return StageVerdict("run", (f"two images in one call: {error.found}",))
    try:
        together = detector.detect_batch(both)
    except BadInputError:  # of outputs that cannot be decoded: a later stage names them
        return StageVerdict("run", facts="one image in a call, and two")
    for i, (image, poses) in enumerate(zip(both, together, strict=True)):
        alone = _keypoints_of(detector.detect(image))
        apart = compare_people(_keypoints_of(poses), alone, reference, detector, image)
        if not (apart.same or apart.nobody):
            faults.append(
                f"image {i + 1} of two in one call: {apart.shift.spread.max:.3g} px from the same "
                f"image alone, {apart.only_one} people in one of the two"
            )
    return StageVerdict("run", tuple(faults), "one image in a call, and two")


def _keypoints_of(poses: Poses) -> Any:
    return with_classes(np.asarray(poses.keypoints, np.float64), poses.labels)


def _findings(model: SdkModel, config: ModelConfig) -> list[Finding]:
    """What `validate` finds in a folder, and what in it is not as the model config has it."""
    facts = json.loads(json.dumps(model_facts(config, 0), default=float))
    ours = model.detail.get("posedeploy")
    section = {**(ours if isinstance(ours, dict) else {}), "model": facts}
    told = replace(model, detail={**model.detail, "posedeploy": section})
    found = [*validate(model.folder), *check_facts(told)]
    return list({(f.file, f.path or f.found): f for f in reversed(found)}.values())[::-1]


def _numbers(
    detector: PoseDetector, graph: Graph, config: ModelConfig, images: Sequence[ImageSource]
) -> Numbers:
    preprocessor, stage = model_preprocessor(config), graph.stage
    chosen = list(islice(probes(detector, images[: MEASURED - 1]), MEASURED))
    names = dict(zip(stage.read_names, stage.output_names, strict=True))
    found = [
        {names[read]: array for read, array in detector.outputs(image).items()} for image in chosen
    ]
    inputs = [preprocessor.tensor(preprocessor.regions(image, None)) for image in chosen]
    precision = str(detector.model.precision)
    people = None
    if stage.output_names == DETECTIONS:
        threshold = float(config.test_cfg.get("score_thr", 0.0))
        people = Detection(precision, threshold, config.input_size)
    flow = detector.model.model.backend, precision
    return compare_numbers(
        found, inputs, network=graph.network, stage=stage, flow=flow, detection=people
    )


def _numeric(numbers: Numbers) -> StageVerdict:
    faults, facts = list(numbers.faults), list[str]()
    for one in numbers.outputs:
        words = f"{one.name}: at most {one.error:.3g} from float64"
        allowed = "" if np.isinf(one.allowed) else f" (allowed {one.allowed:.3g})"
        (faults if one.wrong else facts).append(f"{words}{allowed}")
    unjudged = "; what has no limit is not judged here" if any(
        np.isinf(o.allowed) for o in numbers.outputs
    ) else ""  # fmt: skip
    return StageVerdict("numeric", tuple(faults), f"{'; '.join(facts)}{unjudged}")


def _keypoints(stage: str, compared: Sequence[Compared]) -> StageVerdict:
    """The keypoints of images on which something can be compared."""
    judged = [c for c in compared if c.decides and not c.distances.nobody]
    faults = [f"{c.name}: {c.distances}" for c in judged if not c.distances.same]
    worst = max((c.distances for c in judged), key=lambda d: d.shift.judged.max, default=None)
    return StageVerdict(stage, tuple(faults), str(worst) if worst else "nothing to compare")
