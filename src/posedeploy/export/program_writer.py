"""Exportable module -> what `torch.export` captures, as a `.pt2` file."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import torch

from posedeploy.config import DeployConfig
from posedeploy.errors import ConversionError
from posedeploy.export.module import ExportableModule
from posedeploy.export.writer import ExportedGraph, example_input
from posedeploy.runtime.torchscript import SIGNATURE, signature_text
from posedeploy.runtime.types import TensorInfo


def export_program(
    module: ExportableModule, deploy_config: DeployConfig, out_path: Path
) -> ExportedGraph:
    """Capture a module and save it, with the names of inputs and outputs beside the program.

    Args:
        module: From `exportable_module`.
        deploy_config: Shape mode, which must be static.
        out_path: The file to write.

    Raises:
        ConversionError: The batch is dynamic, or `torch.export` cannot capture the module.
    """
    if deploy_config.dynamic_batch:
        raise ConversionError(
            "export", str(deploy_config.path), "a dynamic batch", "a static deploy config",
            f"{deploy_config.backend} is converted from a program of one image: "
            "remove dynamic_axes.",
        )  # fmt: skip
    example = example_input(module, 1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module.network, (example,))
        except (RuntimeError, ValueError, TypeError) as error:
            # torch.export's own errors derive from these; the rest is a bug
            raise ConversionError(
                "export", "torch.export", str(error).split("\n", 1)[0],
                "a model that it can capture", "Choose another backend, and report this model.",
            ) from error  # fmt: skip
        made = module.network(example)
    inputs = (_info(module.input_names[0], example),)
    outputs = tuple(map(_info, module.output_names, made))
    torch.export.save(program, out_path, extra_files={SIGNATURE: signature_text(inputs, outputs)})
    calls = (node for node in program.graph.nodes if node.op == "call_function")
    return ExportedGraph(
        path=out_path,
        exporter="torch.export",
        opset=0,
        ir_version=0,
        inputs=inputs,
        outputs=outputs,
        nodes=dict(sorted(Counter(str(node.target) for node in calls).items())),
    )


def _info(name: str, tensor: torch.Tensor) -> TensorInfo:
    return TensorInfo(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
