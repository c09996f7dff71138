"""SDK model folders that are simply there: the flow that each stands for, and their subject.

A folder tells by `deploy.json` and by its model file what it is: backend, precision, static or
dynamic batch, and where the graph ends. Nobody is asked how it was made.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.subject.posedeploy_subject import PosedeploySubject
from poseconform.subject.protocol import Conversion, Subject
from posedeploy.heads import KEYPOINTS, Stage, head_of_word, stage_of_component
from posedeploy.paths import file_sha256
from posedeploy.runtime import Availability, Code, backend_names, backend_row, model_suffixes
from posedeploy.sdk.archive import Unpacked, locate

FOLDER_SUBJECT = f"{__name__}:FolderSubject"
DEPLOY, PIPELINE = "deploy.json", "pipeline.json"
_unpacked: list[Unpacked] = []  # a zip's folder is removed with its object
_ONNX = ".onnx"
_DRAWN = frozenset({".jpg", ".png"})  # images that a conversion has drawn are no part of a model


class FolderError(ValueError):
    """What was named is no SDK model folder that can be judged; the message says what is wrong."""

    def __init__(self, subject: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(f"{subject}: found {found}; expected {expected}. {next_step}")
        self.next_step = next_step


@dataclass(frozen=True)
class GraphEnds:
    """What a model file says of itself: its outputs, its batch, and what its weights are in."""

    outputs: tuple[str, ...]
    batch: int | str | None  # first dimension of the input; None if it has none
    precision: str


@dataclass(frozen=True)
class FolderSubject:
    """Folders, as the subject of a run: nothing is converted, and models are the default one's.

    See `Subject` for what each method returns.
    """

    known: Subject = field(default_factory=PosedeploySubject)
    name: ClassVar[str] = "folder"

    def tiers(self) -> tuple[str, ...]:
        """Names of the zoo's tiers."""
        return self.known.tiers()

    def families(self) -> tuple[str, ...]:
        """The rows of the support table."""
        return self.known.families()

    def models(self, selection: Sequence[str]) -> tuple[Model, ...]:
        """The zoo's models, by name."""
        return self.known.models(selection)

    def has_name(self, model: Model) -> bool:
        """True if it is in the zoo."""
        return self.known.has_name(model)

    def model_from_config(self, path: str, checkpoint: str = "") -> Model:
        """A model from the user's MMPose config and checkpoint."""
        return self.known.model_from_config(path, checkpoint)

    def flows(self, more: Sequence[str] = ()) -> tuple[Flow, ...]:
        """Flows that folders can be of; those of a run are read from its folders."""
        return self.known.flows(more)

    def locating_weights(self, model: Model) -> Collection[str]:
        """The kinds of weights that a model of the zoo can have."""
        return self.known.locating_weights(model)

    def fetch_published(self, models: Sequence[Model]) -> None:
        """Download published checkpoints."""
        self.known.fetch_published([self._as_known(model) for model in models])

    def conversion_availability(self, backend: str) -> Availability:
        """Always: the files are there."""
        del backend
        return Availability(Code.AVAILABLE)

    def missing_tools(self, backend: str) -> tuple[str, ...]:
        """None: nothing is converted."""
        del backend
        return ()

    def builds_for_device(self, backend: str) -> bool:
        """Never: nothing is built."""
        del backend
        return False

    def versions(self) -> Mapping[str, str]:
        """Packages that can change what is computed here; what made a folder is not known."""
        return self.known.versions()

    def checkpoint_for(self, model: Model) -> str:
        """The checkpoint of the model's weights and seed."""
        return self.known.checkpoint_for(self._as_known(model))

    def _as_known(self, model: Model) -> Model:
        """The model by its name in the zoo, which it may not have in the report."""
        same = (m.name for m in self.known.models(model.tiers[:1]) if m.config == model.config)
        return replace(model, name=next(same)) if model.tiers else model

    def convert(
        self, cell: Cell, checkpoint: str, exporter: str, cache: ArtifactCache
    ) -> Conversion:
        """The cell's folder as it is."""
        del exporter, cache
        folder = Path(cell.flow.folder)
        files = {
            str(path.relative_to(folder)): (file_sha256(path), path.stat().st_size)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in _DRAWN
        }
        return Conversion(folder, files, {}, {}, file_sha256(Path(checkpoint)))


def read_flow(artifact: Path, model: Model) -> Flow:
    """The flow that an SDK model of a model stands for: a folder, a file in it, or its zip.

    A zip is unpacked into a temporary folder, which is there as long as this process.

    Raises:
        FolderError: It is no such folder, or of a backend that nobody can run here.
        PoseDeployError: It is a zip that cannot be unpacked.
    """
    folder, unpacked = locate(artifact)
    if unpacked is not None:
        _unpacked.append(unpacked)
    entry = _model_entry(folder)
    backend = str(entry.get("backend"))
    if backend not in backend_names():
        raise FolderError(
            f"{folder / DEPLOY}: backend", repr(entry.get("backend")),
            f"one of {', '.join(backend_names())}", "The judge can run no other's files.",
        )  # fmt: skip
    files = tuple(str(entry[name]) for name in ("net", "weights") if entry.get(name))
    if strangers := [name for name in files if leaves_folder(name)]:
        raise FolderError(
            f"{folder / DEPLOY}: files", ", ".join(strangers), "names of files in the folder",
            "Put the files there.",
        )  # fmt: skip
    ends = read_graph(folder / files[0]) if files and files[0].endswith(_ONNX) else None
    precision = ends.precision if ends else str(entry.get("precision", "FP32")).lower()
    if precision not in backend_row(backend).precisions:
        raise FolderError(
            f"{folder}: precision of {backend}", precision,
            f"one of {', '.join(backend_row(backend).precisions)}",
            "Nobody has measured how far another may be off.",
        )  # fmt: skip
    stage = _stage_of(folder, model.head, ends.outputs if ends else ())
    mode = "dynamic" if _takes_any_batch(entry, ends) else "static"
    words = [model.head, backend + (f"-{precision}" if precision != "fp32" else ""), mode]
    return Flow(
        deploy_config="_".join(["pose-detection", *(word for word in words if word)]),
        head=model.head, backend=backend, precision=precision, shape_mode=mode, shape=None,
        host_suppression=stage is not None and stage.name in {"dense", "raw"},
        keypoints=_keypoints_of(folder, stage, ends),
        inference_precision="bf16" if precision == "bf16" else "",
        folder=str(folder.resolve()), artifact=str(artifact.resolve()), files=files,
    )  # fmt: skip


def _takes_any_batch(entry: Mapping[str, Any], ends: GraphEnds | None) -> bool:
    return isinstance(ends.batch, str) if ends else bool(entry.get("dynamic_shape"))


def _model_entry(folder: Path) -> Mapping[str, Any]:
    """The first entry of `models` in `deploy.json`."""
    if not folder.is_dir():
        bare = folder.suffix in model_suffixes() and folder.exists()
        raise FolderError(
            f"SDK model {folder}", "a bare model file" if bare else "no folder",
            "a folder with deploy.json, pipeline.json and the backend's files, or its zip",
            "Compare a file of its own with `posedeploy compare`." if bare else "Check the path.",
        )  # fmt: skip
    content = {name: _read_json(folder / name) for name in (DEPLOY, PIPELINE)}
    models = content[DEPLOY].get("models")
    if not isinstance(models, list) or not models or not isinstance(models[0], dict):
        raise FolderError(
            str(folder / DEPLOY), "no models", "a list `models` with one entry",
            "`posedeploy validate FOLDER` shows everything that is wrong with it.",
        )  # fmt: skip
    return dict(models[0])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = "no such file"
    except (OSError, ValueError) as error:  # a JSONDecodeError is a ValueError
        found = f"no JSON ({error})"
    else:
        if isinstance(content, dict):
            return content
        found = f"a {type(content).__name__}"
    raise FolderError(
        str(path), found, "the JSON object of an SDK model folder",
        "`posedeploy validate FOLDER` shows everything that is wrong with it.",
    )  # fmt: skip


def leaves_folder(name: str) -> bool:
    """True if a file name in a JSON file leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def read_graph(path: Path) -> GraphEnds | None:
    """Outputs, batch and precision of an ONNX file; None where it cannot be read.

    The backend's own refusal to load it is what the report then shows.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError):
        return None
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    batch: int | str | None = None
    for first in inputs[0].type.tensor_type.shape.dim[:1] if inputs else ():
        batch = first.dim_value if first.HasField("dim_value") else first.dim_param or "?"
    return GraphEnds(tuple(value.name for value in graph.output), batch, _precision(graph))


def _precision(graph: Any) -> str:
    """What most weights are stored in; MMDeploy's `deploy.json` knows it of few backends."""
    import onnx

    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    count = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 0}
    for tensor in graph.initializer:
        if tensor.data_type in count:
            size = 1
            for dim in tensor.dims:
                size *= dim
            count[tensor.data_type] += size
    return "fp16" if count[onnx.TensorProto.FLOAT16] > count[onnx.TensorProto.FLOAT] else "fp32"


def _stage_of(folder: Path, word: str, outputs: Sequence[str]) -> Stage | None:
    """Where the graph ends: by its outputs, else by the component in `pipeline.json`.

    Decoded keypoints may have any names: there the component's parameters decide.
    """
    stages = head_of_word(word).stages
    last = _tasks(folder)[-1]
    try:
        named = stage_of_component(str(last.get("component")), last.get("params", {}))[1]
    except KeyError:  # MMDeploy's UNKNOWN, and names of nobody
        named = None
    if named in stages and named.name == KEYPOINTS:
        return named
    by_outputs = (s for s in stages if outputs and set(outputs) == set(s.output_names))
    return next(by_outputs, named if named in stages else None)


def _keypoints_of(folder: Path, stage: Stage | None, ends: GraphEnds | None) -> tuple[str, ...]:
    """Names of keypoints and scores where the graph holds the decoding; () elsewhere."""
    if stage is None or stage.name != KEYPOINTS:
        return ()
    nets = (task for task in _tasks(folder) if task.get("module") == "Net")
    renamed: Mapping[str, Any] = next(nets, {}).get("output_map") or {}
    names = ends.outputs if ends else stage.output_names
    mapped = tuple(str(renamed[name]) for name in stage.read_names if name in renamed)
    return mapped if len(mapped) == len(names) else names


def _tasks(folder: Path) -> list[dict[str, Any]]:
    """The tasks of `pipeline.json`, at least one."""
    pipeline = _read_json(folder / PIPELINE).get("pipeline")
    tasks = pipeline.get("tasks") if isinstance(pipeline, dict) else None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, dict) for t in tasks):
        raise FolderError(
            f"{folder / PIPELINE}: pipeline.tasks", "no tasks", "a list of tasks",
            "`posedeploy validate FOLDER` shows everything that is wrong with it.",
        )  # fmt: skip
    return tasks
