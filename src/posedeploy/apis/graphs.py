"""A backend's files, whoever made them, with what the model config says around them.

The result is an SDK model folder, so everything that runs a folder runs bare files too. Where an
artifact is a folder itself, its files are run in both: what differs then lies in its JSON.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posedeploy.config import ModelConfig, class_meta, load_deploy_config
from posedeploy.errors import BadInputError
from posedeploy.heads import HeadSpec, Stage, load
from posedeploy.runtime import (
    BackendSpec,
    Device,
    Session,
    StoredPrecision,
    TensorInfo,
    backends_by_rank,
    device_of,
)
from posedeploy.runtime.tensorrt import read_build
from posedeploy.sdk.binding import bind_input, check_sizes, load_session
from posedeploy.sdk.checks.graph import shown_precision
from posedeploy.sdk.fields import Node
from posedeploy.sdk.folder import PIPELINE, ModelEntry, SdkModel
from posedeploy.sdk.onnxfile import read_onnx
from posedeploy.sdk.writer import Artifact, compact_dataset_meta, write_json_files

if TYPE_CHECKING:
    from torch import nn

    from posedeploy.sdk import PoseDetector

Shapes = Mapping[str, tuple[int, ...]]
ENGINE = ".engine"


@dataclass(frozen=True)
class Graph:
    """A backend's files in an SDK model folder that was made of the model config.

    `network` is PyTorch's, in float32: `[N, 3, H, W]` to a tuple in the order of the stage.
    """

    folder: Path
    device: str
    stage: Stage  # where the graph ends
    network: nn.Module


@dataclass(frozen=True)
class BackendFiles:
    """The files of an artifact, and what is known of them."""

    row: BackendSpec
    files: tuple[Path, ...]  # the main one first
    precision: str = ""  # '' reads it from the files
    stage: Stage | None = None  # None finds out by the outputs
    outputs: Mapping[str, str] | None = None  # name in the contract -> in the graph, where known


def backend_files(path: Path, precision: str = "") -> BackendFiles:
    """The backend of a bare model file, by its suffix, with the file of weights beside it.

    Raises:
        BadInputError: It is no backend's, or its file of weights is missing.
    """
    rows = {Path(row.main_file).suffix: row for row in reversed(backends_by_rank())}
    row = rows.get(path.suffix.lower())
    if path.suffix.lower() == ENGINE:  # of two backends: the file beside it names its builder
        built = read_build(path)
        row = next((one for one in backends_by_rank() if one.name in built), row)
    if row is None or not path.exists():
        raise BadInputError(
            f"artifact {path}", f"a {path.suffix or 'suffixless'} file" if path.exists() else
            "nothing there", f"an SDK model folder, a zip of one, or a file {', '.join(rows)}",
            "Check the path.",
        )  # fmt: skip
    files = [path]
    if row.weights_file:
        files.append(path.with_suffix(Path(row.weights_file).suffix))
        if not files[1].is_file():
            raise BadInputError(
                f"artifact {path}", f"no {files[1].name} beside it",
                f"both files of {row.display}", "Copy it there.",
            )  # fmt: skip
    return BackendFiles(row, tuple(files), precision)


def files_of(detector: PoseDetector, head: HeadSpec) -> BackendFiles:
    """The files of an SDK model folder, whose JSON says where the graph ends.

    Raises:
        BadInputError: Its component is of another kind of head.
    """
    model, bound = detector.model, detector.bound_outputs
    stage = stage_in(model, head)
    pairs = zip(stage.output_names, stage.read_names, strict=True)
    outputs = {name: bound[read] for name, read in pairs}
    row = next(row for row in backends_by_rank() if row.name == model.model.backend)
    return BackendFiles(row, model.backend_files(), model.precision, stage, outputs)


def stage_in(model: SdkModel, head: HeadSpec) -> Stage:
    """The stage of a kind of head that a folder's component decodes.

    Raises:
        BadInputError: The component is of another kind.
    """
    params, component = model.params.value, model.component
    fits = [
        stage for stage in head.stages
        if stage.component and component in {stage.component, *stage.aliases}
        and all(params.get(name) is value for name, value in stage.params)
    ]  # fmt: skip
    if model.unnamed and head.bottom_up:
        return head.stages[0]
    if not fits:
        raise BadInputError(
            f"{PIPELINE}: {model.component_path}", repr(component),
            f"one for the model config's head, of kind {head.kind}: "
            f"{', '.join(sorted({s.component for s in head.stages if s.component}))}",
            "Give the model config that the folder was made of.",
        )  # fmt: skip
    return max(fits, key=lambda stage: len(stage.params))


def make_graph(
    given: BackendFiles,
    model: nn.Module,
    model_config: ModelConfig,
    folder: Path,
    *,
    checkpoint: str = "",
    device: str = "",
) -> Graph:
    """Put a backend's files into `folder`, which is empty, with JSON files of the model config.

    `model` is mmpose's, in eval mode; `device` '' takes the backend's own.

    Raises:
        BadInputError: The files are none of the backend's, or the outputs of the graph are none of
            the model's; the message has them with their shapes.
        UnavailableError: The backend does not run here.
    """
    from posedeploy.export import exportable_module, host_work

    row, head = given.row, model_config.head_kind
    names = [row.main_file, row.weights_file][: len(given.files)]
    for source, name in zip(given.files, names, strict=True):
        link_or_copy(source, folder / name)
    session, precision, used = _open(given, folder, names, device)
    check_sizes(given.files[0].name, [*session.inputs, *session.outputs])
    width, height = size = model_config.input_size
    info = bind_input(_unread(folder, row, names, precision), session.inputs, size)
    batch: int | str = info.shape[0] if info.shape else 1
    word = f"_{head.word}" if head.word else ""
    mode = "dynamic" if isinstance(batch, str) and row.dynamic_batch else "static"
    deploy_config = load_deploy_config(f"pose-detection{word}_{row.name}_{mode}-{height}x{width}")
    modules = {
        stage.name: exportable_module(model, model_config, deploy_config, stage.name)
        for stage in ([given.stage] if given.stage else _decodable(head, model_config))
    }
    shapes = _ran(given.files[0].name, session, info, size)
    expected = {
        name: _shapes(module.network, module.stage, size) for name, module in modules.items()
    }
    stage, outputs = _recognized(given, shapes, expected, [m.stage for m in modules.values()])
    module = modules[stage.name]
    infos = {i.name: i for i in session.outputs}
    graph_names = tuple(outputs[name] for name in stage.output_names)
    artifact = Artifact(
        tuple(names), precision,
        (TensorInfo(info.name, (batch, 3, height, width), info.dtype),),
        tuple(infos[name] for name in graph_names), row.by_position,
        host_work(module, model, model_config, deploy_config, folder),
    )  # fmt: skip
    meta: Any = model.dataset_meta
    write_json_files(
        folder, artifact, model_config, replace(deploy_config, output_names=graph_names),
        checkpoint, compact_dataset_meta(meta) | class_meta(model_config, meta),
    )  # fmt: skip
    return Graph(folder, used, stage, module.network)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system can, else a copy; a folder is copied."""
    if source.is_dir():
        shutil.copytree(source, target)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


# Backend -> what reads the stored precision of its files once they have been loaded.
_PRECISION_OF: Mapping[str, Callable[[Sequence[Path]], StoredPrecision]] = {
    "litert": lambda files: load("posedeploy.convert.litert:weight_precision")(*files),
    "ncnn": lambda files: load("posedeploy.convert.ncnn:weight_precision")(*files),
    "openvino": lambda files: load("posedeploy.convert.openvino:weight_precision")(
        load("posedeploy.runtime.openvino:shared_core")().read_model(*files)
    ),
}


def _open(
    given: BackendFiles, folder: Path, names: Sequence[str], device: str
) -> tuple[Session, StoredPrecision, str]:
    """The loaded files, their stored precision, and the device that they were loaded on."""
    row, precision = given.row, given.precision
    if not precision and names[0].endswith(".onnx"):
        precision = shown_precision(read_onnx(folder / names[0])).lower()
    used = device_of(row.name, precision or "fp32", device)
    model = _unread(folder, row, names, precision or "fp32")
    session = load_session(model, Device.parse(used), 0)
    if not precision and row.name in _PRECISION_OF:
        precision = _PRECISION_OF[row.name](model.backend_files())
    return session, precision or StoredPrecision.FP32, used  # type: ignore[return-value]


def _unread(folder: Path, row: BackendSpec, names: Sequence[str], precision: str) -> SdkModel:
    """An SDK model of which nothing but the backend's files is known yet."""
    weights = names[1] if names[1:] else ""
    entry = ModelEntry("", names[0], weights, row.name, precision.upper(), 1, dynamic_shape=True)
    return SdkModel(folder, "", "", entry, (), {}, {}, "", Node({}, PIPELINE), {})


def _decodable(head: HeadSpec, model_config: ModelConfig) -> list[Stage]:
    """The stages of a head that are decoded here and that a graph of this model can end at."""
    from posedeploy.apis.postprocess import graph_can_decode

    return [
        stage for stage in head.stages
        if stage.component and (not stage.params or graph_can_decode(model_config))
    ]  # fmt: skip


def _shapes(network: nn.Module, stage: Stage, size: tuple[int, int]) -> Shapes:
    """Shapes of PyTorch's outputs for one image."""
    import torch

    with torch.no_grad():
        outputs = network(torch.zeros(1, 3, size[1], size[0]))
    pairs = zip(stage.output_names, outputs, strict=True)
    return {name: tuple(output.shape) for name, output in pairs}


def _ran(net: str, session: Session, info: TensorInfo, size: tuple[int, int]) -> Shapes:
    """Shapes of the graph's outputs, of a run on zeros: declared ones may be unknown."""
    batch = info.shape[0] if info.shape and isinstance(info.shape[0], int) else 1
    zeros = np.zeros((batch, 3, size[1], size[0]), np.float32)
    try:
        outputs = session.run({info.name: zeros})
    except Exception as error:  # backends' exceptions share no base class but Exception
        raise BadInputError(
            net, f"a graph that fails on input {list(zeros.shape)}: {error}",
            "a graph that takes it", "Convert the model again.",
        ) from error  # fmt: skip
    return {name: (1, *array.shape[1:]) for name, array in outputs.items()}


def _recognized(
    given: BackendFiles, found: Shapes, expected: Mapping[str, Shapes], stages: Sequence[Stage]
) -> tuple[Stage, Mapping[str, str]]:
    """Where the graph ends, and its outputs by the names of the contract.

    By their names, or else by the only way in which their shapes fit. `expected` has PyTorch's
    shapes by the names of the stages.
    """
    known = dict(given.outputs or {})
    if wrong := sorted(set(known.values()) - set(found)):
        raise _unrecognized(given, found, expected, f"no {', '.join(wrong)}")
    for stage in stages:
        named = {name: known.get(name, name) for name in stage.output_names}
        if set(named.values()) <= set(found) and known.keys() <= named.keys():
            return stage, named
    fits = [
        (stage, assigned)
        for stage in stages
        for assigned in _assignments(stage, expected[stage.name], found, given.row.by_position)
        if known.items() <= assigned.items()
    ]
    if len(fits) != 1:
        raise _unrecognized(given, found, expected, "several that fit" if fits else "")
    return fits[0]


def _assignments(
    stage: Stage, expected: Shapes, found: Shapes, by_position: bool
) -> Iterator[Mapping[str, str]]:
    """Every way to take a graph's outputs for those of a stage: all of them, by their shapes."""
    if len(found) != len(expected):
        return
    axes = {output.name: output.axes for output in stage.outputs}
    for order in [tuple(found)] if by_position else permutations(found):
        assigned = dict(zip(expected, order, strict=True))
        if all(_fits(found[assigned[n]], expected[n], axes[n]) for n in expected):
            yield assigned


def _fits(found: Sequence[int], expected: Sequence[int], axes: Sequence[int | str]) -> bool:
    """Equal sizes, but for the batch and the number of rows, which is the exporter's."""
    return len(found) == len(expected) and all(
        have == want or axis in {"N", "M"}
        for have, want, axis in zip(found, expected, axes, strict=True)
    )


def _unrecognized(
    given: BackendFiles, found: Shapes, expected: Mapping[str, Shapes], why: str
) -> BadInputError:
    def words(shapes: Shapes) -> str:
        return ", ".join(f"{name} {['N', *shape[1:]]}" for name, shape in shapes.items())

    example = " ".join(f"--outputs {name}=…" for name in next(iter(expected.values())))
    return BadInputError(
        f"outputs of {given.files[0].name}",
        f"{why}{' in ' if why else ''}{words(found)}".replace("'N'", "N"),
        " or ".join(words(shapes) for shapes in expected.values()).replace("'N'", "N"),
        f"Give the names: {example}",
    )
