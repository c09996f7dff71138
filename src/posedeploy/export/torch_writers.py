"""Exportable module -> a traced TorchScript module, or an exported program of `torch.export`.

Names, shapes and types of inputs and outputs are stored in the archive as an extra file.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from posedeploy.config import DeployConfig
from posedeploy.errors import ConversionError
from posedeploy.export.graph import BATCH
from posedeploy.export.module import ExportableModule
from posedeploy.export.tracing import static_shapes
from posedeploy.export.writer import TRACED_BATCH, ExportedGraph, example_input
from posedeploy.runtime.torchscript import SIGNATURE, signature_text
from posedeploy.runtime.types import TensorInfo

Context = Callable[[], AbstractContextManager[None]]
# What torch.jit and torch.export raise for a module that they cannot capture; the rest is a bug
_REFUSALS = (RuntimeError, ValueError, TypeError)


def export_trace(
    module: ExportableModule,
    deploy_config: DeployConfig,
    out_path: Path,
    context: Context = static_shapes,
) -> ExportedGraph:
    """Trace a module and save it.

    Args:
        module: From `exportable_module`.
        deploy_config: Shape mode.
        out_path: The file to write.
        context: Context manager that is active while tracing.

    Raises:
        ConversionError: PyTorch cannot trace the module.
    """
    example = example_input(module, TRACED_BATCH[deploy_config.shape_mode])
    with warnings.catch_warnings(), context(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                module.network, (example,), check_trace=False
            )
        except _REFUSALS as error:
            raise ConversionError(
                "export", "the TorchScript tracer", str(error).split("\n", 1)[0],
                "a model that it can trace",
                "Choose a backend that is converted from ONNX, and report this model.",
            ) from error  # fmt: skip
        outputs = module.network(example)
    signature = _signature(module, example, outputs, deploy_config.dynamic_batch)
    torch.jit.save(traced, str(out_path), _extra_files={SIGNATURE: signature_text(*signature)})
    kinds = (node.kind() for node in traced.inlined_graph.nodes())
    nodes = (kind.removeprefix("aten::") for kind in kinds if not kind.startswith("prim::"))
    return _exported(out_path, "trace", signature, nodes)


def export_program(
    module: ExportableModule, deploy_config: DeployConfig, out_path: Path
) -> ExportedGraph:
    """Capture a module with `torch.export` and save it as a `.pt2` file.

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
        except _REFUSALS as error:
            raise ConversionError(
                "export", "torch.export", str(error).split("\n", 1)[0],
                "a model that it can capture", "Choose another backend, and report this model.",
            ) from error  # fmt: skip
        outputs = module.network(example)
    signature = _signature(module, example, outputs, dynamic=False)
    torch.export.save(program, out_path, extra_files={SIGNATURE: signature_text(*signature)})
    calls = (str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return _exported(out_path, "torch.export", signature, calls)


Signature = tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]


def _signature(
    module: ExportableModule, example: torch.Tensor, outputs: Iterable[torch.Tensor], dynamic: bool
) -> Signature:
    def info(name: str, tensor: torch.Tensor) -> TensorInfo:
        batch: int | str = BATCH if dynamic else int(tensor.shape[0])
        rest = (int(size) for size in tensor.shape[1:])
        return TensorInfo(name, (batch, *rest), str(tensor.dtype).removeprefix("torch."))

    named = zip(module.output_names, outputs, strict=True)
    return (info(module.input_names[0], example),), tuple(info(*pair) for pair in named)


def _exported(
    path: Path, exporter: str, signature: Signature, nodes: Iterable[str]
) -> ExportedGraph:
    return ExportedGraph(
        path=path,
        exporter=exporter,
        opset=0,
        ir_version=0,
        inputs=signature[0],
        outputs=signature[1],
        nodes=dict(sorted(Counter(nodes).items())),
    )
