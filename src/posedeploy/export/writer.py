"""Exportable module → ONNX file, through one of two exporters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from posedeploy.config import DeployConfig
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export import dynamo_exporter, torchscript_exporter
from posedeploy.export.graph import BATCH, clean, problems, tensor_infos, write_checked
from posedeploy.export.module import ExportableModule
from posedeploy.runtime.types import TensorInfo

# A batch of two while tracing: a batch of one is folded into constants
TRACED_BATCH = {"static": 1, "dynamic": 2}


# One way from a module to an `onnx.ModelProto` before the clean-up, with the module's names of
# inputs and outputs: module, example images [N, 3, H, W] float32, opset, whether N stays dynamic.
Exporter = Callable[[ExportableModule, torch.Tensor, int, bool], Any]

# fmt: off
EXPORTERS: Mapping[str, Exporter] = {
    "dynamo":      dynamo_exporter.export,
    "torchscript": torchscript_exporter.export,
}
# fmt: on


@dataclass(frozen=True)
class ExportedGraph:
    """One exported file, as it is on disk.

    Attributes:
        path: The file; it holds everything, weights included.
        exporter: Which exporter wrote it.
        opset: Its opset; dynamo may write 18 where 17 was asked for.
        ir_version: Its IR version.
        inputs: Its inputs in order.
        outputs: Its outputs in order.
        nodes: How many nodes of each operator it has.
    """

    path: Path
    exporter: str
    opset: int
    ir_version: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: Mapping[str, int]


def example_input(module: ExportableModule, batch: int) -> torch.Tensor:
    """The same image batch [N, 3, H, W] in every run: uniform noise in 0..1."""
    width, height = module.input_size
    noise = torch.Generator().manual_seed(0)
    return torch.rand((batch, 3, height, width), generator=noise)


def export_onnx(
    module: ExportableModule,
    deploy_config: DeployConfig,
    out_path: Path,
    exporter: str | None = None,
) -> ExportedGraph:
    """Write a module as one ONNX file.

    Args:
        module: From `exportable_module`.
        deploy_config: Opset, shape mode, and the exporter unless given.
        out_path: The file to write.
        exporter: 'torchscript' or 'dynamo'; None takes the deploy config's.

    Raises:
        BadInputError: No such exporter.
        ConversionError: PyTorch cannot export the module, or what it wrote breaks the contract.
    """
    chosen = exporter or deploy_config.exporter
    if chosen not in EXPORTERS:
        raise BadInputError(
            "--exporter", repr(chosen), f"one of {', '.join(EXPORTERS)}", "Choose one of them."
        )
    dynamic = deploy_config.dynamic_batch
    example = example_input(module, TRACED_BATCH[deploy_config.shape_mode])
    proto = EXPORTERS[chosen](module, example, deploy_config.opset, dynamic)
    clean(proto, deploy_config.opset)
    found = problems(proto, module.input_names, module.output_names, BATCH if dynamic else 1)
    if found:
        raise ConversionError(
            "export",
            f"{out_path.name} from the {chosen} exporter",
            "; ".join(found),
            "a clean graph of standard operators",
            "Try the other exporter with --exporter, and report this model.",
        )
    write_checked(proto, out_path)
    return ExportedGraph(
        path=out_path,
        exporter=chosen,
        opset=proto.opset_import[0].version,
        ir_version=proto.ir_version,
        inputs=tensor_infos(proto.graph.input),
        outputs=tensor_infos(proto.graph.output),
        nodes=dict(sorted(Counter(node.op_type for node in proto.graph.node).items())),
    )
