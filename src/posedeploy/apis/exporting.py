"""MMPose model -> intermediate representation, as a folder that later steps can share.

The folder holds the graph and `export.json`.  Every backend that takes the same representation
starts from the same folder, so a model is exported once a shape mode and exporter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posedeploy.apis.fitting import check_output_names, naming_a_fit
from posedeploy.apis.postprocess import check_postprocess
from posedeploy.apis.progress import Progress, at_stage, silent
from posedeploy.config import DeployConfig, ModelConfig, class_meta
from posedeploy.convert import conversion_row
from posedeploy.errors import BadInputError
from posedeploy.heads import KEYPOINTS, HeadSpec, head_of_outputs, head_of_word

if TYPE_CHECKING:
    from torch import nn

EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class Exported:
    """An exported model."""

    folder: Path
    graph: str  # file name in `folder`
    exporter: str  # 'trace' for TorchScript
    opset: int  # 0 for TorchScript, and so is `ir_version`
    ir_version: int
    nodes: Mapping[str, int]  # operator type -> count
    checkpoint: str
    dataset_meta: Mapping[str, Any]  # compact
    seconds: float
    # parameters of the post-processing that is left to the host; empty where the graph holds all
    host: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The graph."""
        return self.folder / self.graph


def export_spec(deploy_config: DeployConfig, exporter: str | None = None) -> dict[str, Any]:
    """What of a deploy config decides the intermediate representation.

    Two deploy configs with equal specs share an export of one model.  The input's shape is not
    among what decides: a deploy config that names another than the model's is refused.
    """
    row = conversion_row(deploy_config.backend, deploy_config.precision)
    onnx = row.form == "onnx"
    return {
        "form": row.form,
        "norm": row.norm,
        "stage": _stage(deploy_config, head_of_word(deploy_config.variant)),
        "exporter": (exporter or deploy_config.exporter) if onnx else "trace",
        "opset": deploy_config.opset if onnx else 0,
        "input_names": deploy_config.input_names,
        "output_names": deploy_config.output_names,
        "dynamic_batch": deploy_config.dynamic_batch,
        "nms": asdict(deploy_config.nms) if deploy_config.nms else None,
    }


def _stage(deploy_config: DeployConfig, head: HeadSpec) -> str:
    """Where a graph ends: as the deploy config asks (checked), or else as the backend prefers."""
    asked = deploy_config.raw["backend_config"].get("stage")
    if asked is None and deploy_config.export_postprocess:
        return KEYPOINTS
    if asked is None:
        row = conversion_row(deploy_config.backend, deploy_config.precision)
        return head.stage_for(row.stages).name
    lacking = dict(conversion_row(deploy_config.backend, deploy_config.precision).lacks)
    if why := lacking.get(asked):
        raise BadInputError(
            f"{deploy_config.path}: backend_config.stage", repr(asked),
            f"another stage: {why}", "Leave the field out: the host does the rest.",
        )  # fmt: skip
    decoded = deploy_config.export_postprocess
    stages = [s.name for s in head.stages if s.component and (s.name == KEYPOINTS) == decoded]
    if asked not in stages:
        raise BadInputError(
            f"{deploy_config.path}: backend_config.stage", repr(asked),
            f"one of {', '.join(stages)}", "Change the field, or leave it out.",
        )  # fmt: skip
    return str(asked)


@naming_a_fit
def check_fit(deploy_config: DeployConfig, model_config: ModelConfig) -> None:
    """Raise BadInputError for a deploy config of another head kind, codec or shape."""
    check_output_names(deploy_config, model_config)
    head, declared = model_config.head_kind, head_of_word(deploy_config.variant)
    named = head_of_outputs(deploy_config.output_names, head.word)
    # a file of any name, or a name of MMDeploy's without a word, which has regression models too
    shared = named == head and (deploy_config.name is None or not declared.word)
    if head != declared and not shared:
        raise BadInputError(
            str(deploy_config.path),
            f"outputs {list(deploy_config.output_names)} ({declared.kind} models)",
            f"a deploy config for {head.kind} models, for {model_config.path.name} has "
            f"a {model_config.head}",
            f"Use one for {head.kind} models.",
        )
    check_postprocess(deploy_config, model_config)
    shape = deploy_config.input_shape
    if shape is not None and shape != model_config.input_size:
        raise BadInputError(
            f"{deploy_config.path}: input_shape", f"{list(shape)} (W, H)",
            f"{list(model_config.input_size)}, the input of {model_config.path.name}",
            "Choose a deploy config of that shape, or one without a shape.",
        )  # fmt: skip


def export(
    model_config: ModelConfig,
    checkpoint: str | Path,
    deploy_config: DeployConfig,
    folder: Path,
    *,
    model: nn.Module | None = None,
    exporter: str | None = None,
    progress: Progress = silent,
) -> Exported:
    """Export a model into `folder`, which exists.

    `model` is the mmpose model with the checkpoint's weights in eval mode (None builds it);
    `exporter` is 'torchscript' or 'dynamo' (None takes the deploy config's).

    Raises:
        BadInputError: The two configs do not fit each other, or the checkpoint not the model.
        ConversionError: The exporter refused the model, at 'export'.
    """
    from posedeploy.export import exportable_module, host_work, write_graph
    from posedeploy.sdk.writer import compact_dataset_meta
    from posedeploy.zoo.build import build_model

    check_fit(deploy_config, model_config)
    if model is None:
        with at_stage("model", progress):
            model = build_model(model_config, Path(checkpoint))
    meta: Any = model.dataset_meta
    started = time.perf_counter()
    with at_stage("export", progress):
        form = conversion_row(deploy_config.backend, deploy_config.precision).form
        stage = _stage(deploy_config, model_config.head_kind)
        module = exportable_module(model, model_config, deploy_config, stage)
        graph = write_graph(module, deploy_config, folder, form, exporter)
        exported = Exported(
            folder=folder, graph=graph.path.name, exporter=graph.exporter, opset=graph.opset,
            ir_version=graph.ir_version, nodes=dict(graph.nodes), checkpoint=str(checkpoint),
            dataset_meta=compact_dataset_meta(meta) | class_meta(model_config, meta),
            seconds=round(time.perf_counter() - started, 3),
            host=host_work(module, model, model_config, deploy_config, folder),
        )  # fmt: skip
    facts = asdict(exported) | {"folder": ""}
    (folder / EXPORT_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return exported


def read_exported(folder: Path) -> Exported:
    """The export that `export` wrote into `folder`."""
    facts = json.loads((folder / EXPORT_FILE).read_text(encoding="utf-8"))
    return Exported(**facts | {"folder": folder})
