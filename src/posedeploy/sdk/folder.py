"""An SDK model folder as a typed value: `deploy.json`, `pipeline.json`, `detail.json`.

The format is MMDeploy 1.3.1's; folders that MMDeploy made read the same as ours.  Unknown
fields are ignored, as its clients do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError
from posedeploy.heads import HEADS
from posedeploy.runtime import ComputePrecision
from posedeploy.sdk.archive import MARK, Unpacked, locate
from posedeploy.sdk.decode import UNKNOWN
from posedeploy.sdk.fields import Node, is_json
from posedeploy.sdk.meta import DatasetMeta, dataset_meta
from posedeploy.sdk.safefiles import file_inside, read_json

DEPLOY, PIPELINE, DETAIL = MARK, "pipeline.json", "detail.json"
JSON_FILES = (DEPLOY, PIPELINE, DETAIL)
PRECISIONS = {precision.value.upper(): precision for precision in ComputePrecision}


@dataclass(frozen=True)
class Task:
    """A task of MMDeploy's whose folders are read."""

    name: str  # `deploy.json: $.task`
    module: str  # codebase whose component post-processes: `module` of the third task
    finds: str  # what a model of it is, for a person
    elsewhere: str  # what to do with a folder of it that was given in another's place


POSE = Task(
    "PoseDetector", "mmpose", "a pose model",
    "Give it as the pose model: MODEL_DIR of `posedeploy infer`, PoseDetector in Python.",
)  # fmt: skip
DETECTION = Task(
    "Detector", "mmdet", "a detection model, which finds boxes and no keypoints",
    "Give it as --detector of `posedeploy infer`, beside a pose model; PersonDetector in Python.",
)  # fmt: skip
TASKS = (POSE, DETECTION)
# Names of MMDeploy's other tasks: `SDK_TASK_MAP` in mmdeploy/utils/constants.py, 1.3.1
OTHER_TASKS = (
    "Classifier", "Restorer", "RotatedDetector", "Segmentor", "TextDetector", "TextRecognizer",
    "VideoRecognizer",
)  # fmt: skip


@dataclass(frozen=True)
class ModelEntry:
    """`deploy.json: $.models[0]`."""

    name: str  # name by which `pipeline.json` refers to it
    net: str  # the backend's main file, relative to the folder
    weights: str  # the backend's second file, '' if it has none
    backend: str
    precision: str  # 'FP32', 'FP16', 'BF16' or 'INT8'
    batch_size: int  # most images that a client may send in one call
    dynamic_shape: bool  # the batch dimension is dynamic


@dataclass(frozen=True)
class SdkModel:
    """An SDK model folder whose JSON files are valid."""

    folder: Path
    version: str  # `deploy.json: $.version`
    task: str  # `deploy.json: $.task`, 'PoseDetector'; '' where it has none
    model: ModelEntry
    transforms: tuple[Node, ...]  # pre-processing steps, in order
    input_map: Mapping[str, str]  # pipeline name -> graph input (its name, or '#i' by position)
    output_map: Mapping[str, str]  # pipeline name -> graph output, likewise
    component: str  # where `pipeline.json` has `UNKNOWN` for a detector, the one of its graph
    params: Node
    detail: Mapping[str, Any]  # `detail.json`, {} if there is none
    unnamed: bool = False  # the component is `UNKNOWN` in `pipeline.json`
    unpacked: Unpacked | None = field(default=None, repr=False, compare=False)  # of a zip
    module: str = POSE.module  # codebase whose component post-processes
    channels_last: bool = False  # the graph takes `[N, H, W, 3]`: no folder's does

    @property
    def precision(self) -> ComputePrecision:
        """What the graph is to be computed in."""
        return PRECISIONS[self.model.precision]

    @property
    def component_path(self) -> str:
        """JSON path of `component`."""
        return f"{self.params.path.removesuffix('.params')}.component"

    @property
    def dataset_meta(self) -> DatasetMeta:
        """Keypoint names, skeleton and sigmas; empty where `detail.json` has none."""
        return dataset_meta(Node(self.detail, DETAIL))

    def backend_files(self) -> tuple[Path, ...]:
        """The backend's files, the main one first; a BadInputError as by `file_inside`."""
        names = {"net": self.model.net, "weights": self.model.weights}
        return tuple(
            file_inside(self.folder, name, f"{DEPLOY}: $.models[0].{key}")
            for key, name in names.items()
            if name or key == "net"
        )


def _model_entry(deploy: Node) -> ModelEntry:
    models = deploy.at("models").items()
    if len(models) != 1:
        raise deploy.at("models").error("an array of one model", f"{len(models)} models")
    models[0].at("precision").one_of(tuple(PRECISIONS))
    entry = models[0].record(ModelEntry)
    if not 1 <= entry.batch_size <= 4096:
        raise models[0].at("batch_size").error("an integer from 1 to 4096")
    return entry


def _tasks(pipeline: Node, wanted: Sequence[Task]) -> tuple[Node, Node, Node]:
    """The tasks of a pipeline: transform, net, post-processing of one of the wanted modules."""
    tasks, modules = pipeline.at("tasks"), [task.module for task in wanted]
    by_module: dict[str, Node] = {}
    for task in tasks.items():
        module = task.at("module").is_a(str)
        if module in by_module:
            raise task.at("module").error(
                f"each of Transform, Net and {' or '.join(modules)} once"
            )
        by_module[module] = task
    post = next((by_module[module] for module in modules if module in by_module), None)
    if post is None or set(by_module) != {"Transform", "Net", post.value["module"]}:
        expected = f"three tasks, of the modules Transform, Net and {' or '.join(modules)}"
        raise tasks.error(expected, f"the modules {', '.join(by_module) or 'none'}")
    for task in by_module.values():
        task.at("type").is_a(str)
    return by_module["Transform"], by_module["Net"], post


def _refuse_other_task(path: Path, name: str, tasks: Node, wanted: Sequence[Task]) -> None:
    """Raise a BadInputError for a model of another task, by its module or its task's name."""
    modules = [task.at("module").value for task in tasks.items()]
    if any(task.module in modules for task in wanted):
        return
    other = next((task for task in TASKS if task.module in modules), None)
    if other is None and name not in OTHER_TASKS:
        return
    found = f"{other.finds} ({other.name})" if other else f"a model of the task {name}"
    expected = " or ".join(f"{task.finds} ({task.name})" for task in wanted)
    next_step = other.elsewhere if other else "Give a folder of that task."
    raise BadInputError(str(path), found, expected, next_step)


def _check_wiring(pipeline: Node, transform: Node, net: Node, post: Node) -> None:
    """Each task must read what the one before it writes: a client follows these names."""
    post_input = post.at("input")
    links = (  # where an error is, what must be there, where it is looked for
        (pipeline.at("input"), pipeline.at("input"), transform.at("input")),
        (net.at("input"), net.at("input"), transform.at("output")),
        (post_input, net.at("output"), post_input),
        (pipeline.at("output"), pipeline.at("output"), post.at("output")),
    )
    for node, needed, offered in links:
        names, all_names = set(needed.all_of(str)), set(offered.all_of(str))
        if not names or not names <= all_names:
            connecting = ", ".join(sorted(names | all_names))
            raise node.error(f"names that connect the tasks: {connecting}")


def _component(post: Node, steps: Sequence[Node], detail: Mapping[str, Any]) -> str:
    """The component; for `UNKNOWN` after transforms of detectors that of their graphs.

    MMDeploy's graphs of detectors end alike, whichever head they are of: `detail.json` tells, and
    without it the last detector counts.
    """
    named = post.at("component").is_a(str)
    if named != UNKNOWN or all(step.value["type"] != "BottomupResize" for step in steps):
        return named
    codebase = detail.get("codebase")
    config = str(codebase.get("config") if isinstance(codebase, dict) else "")
    detectors = [head for head in HEADS if head.stages[0].output_names == ("dets", "keypoints")]
    return next((h for h in detectors if h.kind in config), detectors[-1]).stages[0].component


def kept_people(model: SdkModel) -> int | None:
    """`keep_top_k` that a detector was exported with, as `detail.json` records it."""
    node = Node(model.detail, DETAIL)
    for key in ("codebase_config", "post_processing"):
        node = node.at(key) if node.has(key) else Node({}, DETAIL)
    kept = node.value.get("keep_top_k") if isinstance(node.value, dict) else None
    return kept if isinstance(kept, int) and is_json(kept, int) and kept > 0 else None


def _name_map(net: Node, key: str) -> dict[str, str]:
    if not net.has(key):
        return {}
    node = net.at(key)
    return {name: node.at(name).is_a(str) for name in node.is_a(dict)}


def read_folder(folder: str | Path, tasks: Sequence[Task] = (POSE,)) -> SdkModel:
    """Read and check the JSON files of a folder of `posedeploy convert` or MMDeploy.

    `folder` is also a file in it, or a zip of it, which is unpacked for as long as the result is
    used (`archive.locate`). `tasks` are those that its model may have.

    Raises:
        BadInputError: There is no such folder, its model has another task, or something in it is
            missing or wrong; the message names the file and the JSON path.
    """
    path = Path(folder)
    folder, unpacked = locate(path)
    if not folder.is_dir():
        raise BadInputError(
            str(folder), "no directory" if folder.exists() else "nothing there",
            f"an SDK model folder with {', '.join(JSON_FILES)}",
            "Write one with `posedeploy convert`.",
        )  # fmt: skip
    deploy = Node(read_json(folder, DEPLOY), DEPLOY)
    pipeline = Node(read_json(folder, PIPELINE), PIPELINE).at("pipeline")
    task = deploy.get("task", str, "")
    _refuse_other_task(path, task, pipeline.at("tasks"), tasks)
    transform, net, post = _tasks(pipeline, tasks)
    _check_wiring(pipeline, transform, net, post)
    model = _model_entry(deploy)
    if net.at("name").is_a(str) != model.name:
        raise net.at("name").error(f"{model.name!r}, the name in {DEPLOY}")
    steps = tuple(transform.at("transforms").items())
    for step in steps:
        step.at("type").is_a(str)
    params = post.at("params") if post.has("params") else Node({}, PIPELINE, f"{post.path}.params")
    params.is_a(dict)
    facts = folder / DETAIL  # clients run without it, and so do we
    detail = read_json(folder, DETAIL) if facts.exists() or facts.is_symlink() else {}
    return SdkModel(
        folder=folder,
        version=deploy.at("version").is_a(str),
        task=task,
        model=model,
        transforms=steps,
        input_map=_name_map(net, "input_map"),
        output_map=_name_map(net, "output_map"),
        component=_component(post, steps, detail),
        params=params,
        detail=detail,
        unnamed=post.at("component").value == UNKNOWN,
        unpacked=unpacked,
        module=post.value["module"],
    )
