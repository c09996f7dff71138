"""An SDK model folder as a typed value: `deploy.json`, `pipeline.json`, `detail.json`.

The format is MMDeploy 1.3.1's; folders that MMDeploy made read the same as ours.  Unknown
fields are ignored, as its clients do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError
from posedeploy.runtime import ComputePrecision
from posedeploy.sdk.fields import Node
from posedeploy.sdk.meta import DatasetMeta, dataset_meta
from posedeploy.sdk.safefiles import file_inside, read_json

DEPLOY, PIPELINE, DETAIL = "deploy.json", "pipeline.json", "detail.json"
JSON_FILES = (DEPLOY, PIPELINE, DETAIL)
PRECISIONS = {precision.value.upper(): precision for precision in ComputePrecision}


@dataclass(frozen=True)
class ModelEntry:
    """`deploy.json: $.models[0]`.

    Attributes:
        name: Name by which `pipeline.json` refers to it.
        net: The backend's main file, relative to the folder.
        weights: The backend's second file, '' if it has none.
        backend: Backend name, e.g. 'onnxruntime'.
        precision: 'FP32', 'FP16', 'BF16' or 'INT8'.
        batch_size: Most images that a client may send in one call.
        dynamic_shape: True if the batch dimension is dynamic.
    """

    name: str
    net: str
    weights: str
    backend: str
    precision: str
    batch_size: int
    dynamic_shape: bool


@dataclass(frozen=True)
class Transform:
    """One pre-processing step: its type and all its fields."""

    type: str
    fields: Node


@dataclass(frozen=True)
class SdkModel:
    """An SDK model folder that was read and found whole.

    Attributes:
        folder: Where it is.
        version: `deploy.json: $.version`.
        task: `deploy.json: $.task`, 'PoseDetector'.
        model: The one model in it.
        transforms: Pre-processing steps, in order.
        input_map: Pipeline name -> graph input (its name, or '#i' by position).
        output_map: Pipeline name -> graph output, likewise.
        component: Name of the post-processing component.
        params: Its parameters.
        detail: `detail.json`, {} if there is none.
    """

    folder: Path
    version: str
    task: str
    model: ModelEntry
    transforms: tuple[Transform, ...]
    input_map: Mapping[str, str]
    output_map: Mapping[str, str]
    component: str
    params: Node
    detail: Mapping[str, Any]

    @property
    def precision(self) -> ComputePrecision:
        """What the graph is to be computed in."""
        return PRECISIONS[self.model.precision]

    @property
    def dataset_meta(self) -> DatasetMeta:
        """Keypoint names, skeleton and sigmas; empty where `detail.json` has none."""
        return dataset_meta(Node(self.detail, DETAIL))

    def backend_files(self) -> tuple[Path, ...]:
        """The backend's files, the main one first.

        Raises:
            BadInputError: One is missing, no regular file, or outside the folder.
        """
        names = [("net", self.model.net)]
        if self.model.weights:
            names.append(("weights", self.model.weights))
        return tuple(
            file_inside(self.folder, name, f"{DEPLOY}: $.models[0].{key}") for key, name in names
        )


def _model_entry(deploy: Node) -> ModelEntry:
    models = deploy.at("models")
    entries = models.items()
    if len(entries) != 1:
        raise models.error("an array of one model", f"{len(entries)} models")
    entry = entries[0]
    batch_size = entry.at("batch_size")
    if not 1 <= batch_size.is_a(int) <= 4096:
        raise batch_size.error("an integer from 1 to 4096")
    return ModelEntry(
        name=entry.at("name").is_a(str),
        net=entry.at("net").is_a(str),
        weights=entry.at("weights").is_a(str),
        backend=entry.at("backend").is_a(str),
        precision=entry.at("precision").one_of(tuple(PRECISIONS)),
        batch_size=batch_size.is_a(int),
        dynamic_shape=entry.at("dynamic_shape").is_a(bool),
    )


def _tasks(pipeline: Node) -> tuple[Node, Node, Node]:
    """The tasks of a pose pipeline: transform, net, post-processing."""
    tasks = pipeline.at("tasks")
    found: dict[str, Node] = {}
    for task in tasks.items():
        module = task.at("module").is_a(str)
        if module in found:
            raise task.at("module").error("each of Transform, Net and mmpose once")
        found[module] = task
    if set(found) != {"Transform", "Net", "mmpose"}:
        expected = "three tasks, of the modules Transform, Net and mmpose"
        raise tasks.error(expected, f"the modules {', '.join(found) or 'none'}")
    return found["Transform"], found["Net"], found["mmpose"]


def _check_wiring(pipeline: Node, transform: Node, net: Node, post: Node) -> None:
    """Each task must read what the one before it writes: a client follows these names."""

    def names(task: Node, key: str) -> set[str]:
        return {name.is_a(str) for name in task.at(key).items()}

    links = (
        (pipeline.at("input"), names(pipeline, "input"), names(transform, "input")),
        (net.at("input"), names(net, "input"), names(transform, "output")),
        (post.at("input"), names(net, "output"), names(post, "input")),
        (pipeline.at("output"), names(pipeline, "output"), names(post, "output")),
    )
    for node, needed, offered in links:
        if not needed or not needed <= offered:
            raise node.error(
                f"names that connect the tasks: {', '.join(sorted(needed | offered))}"
            )


def _name_map(net: Node, key: str) -> dict[str, str]:
    if not net.has(key):
        return {}
    node = net.at(key)
    return {name: node.at(name).is_a(str) for name in node.is_a(dict)}


def _params(post: Node) -> Node:
    """`params` of the post-processing task; clients do without them."""
    if not post.has("params"):
        return Node({}, PIPELINE, f"{post.path}.params")
    params = post.at("params")
    params.is_a(dict)
    return params


def _optional_detail(folder: Path) -> dict[str, Any]:
    """`detail.json` is for people and validators; clients run without it, and so do we."""
    path = folder / DETAIL
    return read_json(folder, DETAIL) if path.exists() or path.is_symlink() else {}


def _directory(folder: Path) -> Path:
    if not folder.is_dir():
        raise BadInputError(
            str(folder),
            "no directory" if folder.exists() else "nothing there",
            f"an SDK model folder with {', '.join(JSON_FILES)}",
            "Write one with `posedeploy convert`.",
        )
    return folder


def read_folder(folder: str | Path) -> SdkModel:
    """Read an SDK model folder.

    The JSON files are read and checked; the backend's files are located by
    `SdkModel.backend_files`, when they are needed.

    Args:
        folder: The folder, as `posedeploy convert` or MMDeploy's `tools/deploy.py` wrote it.

    Raises:
        BadInputError: There is no such folder, or something in it is missing or wrong; the
            message names the file and the JSON path.
    """
    folder = _directory(Path(folder))
    deploy = Node(read_json(folder, DEPLOY), DEPLOY)
    pipeline = Node(read_json(folder, PIPELINE), PIPELINE).at("pipeline")
    transform, net, post = _tasks(pipeline)
    for task in (transform, net, post):
        task.at("type").is_a(str)
    _check_wiring(pipeline, transform, net, post)
    model = _model_entry(deploy)
    if net.at("name").is_a(str) != model.name:
        raise net.at("name").error(f"{model.name!r}, the name in {DEPLOY}")
    return SdkModel(
        folder=folder,
        version=deploy.at("version").is_a(str),
        task=deploy.get("task", str, ""),
        model=model,
        transforms=tuple(
            Transform(step.at("type").is_a(str), step)
            for step in transform.at("transforms").items()
        ),
        input_map=_name_map(net, "input_map"),
        output_map=_name_map(net, "output_map"),
        component=post.at("component").is_a(str),
        params=_params(post),
        detail=_optional_detail(folder),
    )
