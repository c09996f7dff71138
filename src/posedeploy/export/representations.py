"""The forms that a model can be exported in: one row a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.export.detection import detection_settings
from posedeploy.export.module import ExportableModule
from posedeploy.export.ncnn_rewrites import ncnn_operators, without_slices
from posedeploy.export.writer import ExportedGraph, export_onnx, export_program, export_trace
from posedeploy.heads import load

TRACED_FILE = "end2end.pt"
PROGRAM_FILE = "end2end.pt2"
HOST_WEIGHTS_FILE = "end2end.npz"

# module, deploy config, folder, ONNX exporter or None -> the graph in that folder
Writer = Callable[[ExportableModule, DeployConfig, Path, str | None], ExportedGraph]


def _onnx(
    module: ExportableModule, deploy_config: DeployConfig, folder: Path, exporter: str | None
) -> ExportedGraph:
    name = Path(deploy_config.save_file).with_suffix(".onnx").name
    return export_onnx(module, deploy_config, folder / name, exporter)


# fmt: off
FORMS: Mapping[str, Writer] = {
    "exported-program": lambda module, config, folder, _: export_program(
        module, config, folder / PROGRAM_FILE),
    "ncnn":             lambda module, config, folder, _: export_trace(
        without_slices(module), config, folder / TRACED_FILE, ncnn_operators),
    "onnx":             _onnx,
    "torchscript":      lambda module, config, folder, _: export_trace(
        module, config, folder / TRACED_FILE),
}
# fmt: on


def write_graph(
    module: ExportableModule,
    deploy_config: DeployConfig,
    folder: Path,
    form: str,
    exporter: str | None = None,
) -> ExportedGraph:
    """Write a module in a form of `FORMS`; `exporter` overrides the deploy config's."""
    return FORMS[form](module, deploy_config, folder, exporter)


def host_work(
    module: ExportableModule,
    model: nn.Module,
    model_config: ModelConfig,
    deploy_config: DeployConfig,
    folder: Path,
) -> dict[str, Any]:
    """Parameters of the host's post-processing component, for what is not in the graph.

    Writes `HOST_WEIGHTS_FILE` into `folder` where the host needs weights.

    Returns:
        Empty if the graph holds everything; else 'stage', the fields of `DetectionSettings` and,
        where there is a file of weights, its name as 'weights'.
    """
    if module.stage == module.head_kind.stages[0]:
        return {}
    settings = detection_settings(model_config, deploy_config)
    work: dict[str, Any] = {"stage": module.stage.name, **asdict(settings)}
    if module.stage.host_weights:
        load(module.stage.host_weights)(model.head, module.input_size, folder / HOST_WEIGHTS_FILE)
        work["weights"] = HOST_WEIGHTS_FILE
    return work
