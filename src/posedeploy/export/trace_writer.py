"""Exportable module -> a traced TorchScript module, outside of any ONNX export."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
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


def export_trace(
    module: ExportableModule,
    deploy_config: DeployConfig,
    out_path: Path,
    context: Context = static_shapes,
) -> ExportedGraph:
    """Trace a module and save it, with the names of inputs and outputs beside the code.

    Args:
        module: From `exportable_module`.
        deploy_config: Shape mode.
        out_path: The file to write.
        context: What is in force while tracing.

    Raises:
        ConversionError: PyTorch cannot trace the module.
    """
    dynamic = deploy_config.dynamic_batch
    example = example_input(module, TRACED_BATCH[deploy_config.shape_mode])
    with warnings.catch_warnings(), context(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                module.network, (example,), check_trace=False
            )
        except (RuntimeError, ValueError, TypeError) as error:
            # torch.jit raises these for what it cannot trace; the rest is a bug
            raise ConversionError(
                "export",
                "the TorchScript tracer",
                str(error).split("\n", 1)[0],
                "a model that it can trace",
                "Choose a backend that is converted from ONNX, and report this model.",
            ) from error
        outputs = module.network(example)
    inputs = (_info(module.input_names[0], example, dynamic),)
    made = tuple(
        _info(name, tensor, dynamic)
        for name, tensor in zip(module.output_names, outputs, strict=True)
    )
    torch.jit.save(traced, str(out_path), _extra_files={SIGNATURE: signature_text(inputs, made)})
    nodes = Counter(node.kind().removeprefix("aten::") for node in traced.inlined_graph.nodes())
    return ExportedGraph(
        path=out_path,
        exporter="trace",
        opset=0,
        ir_version=0,
        inputs=inputs,
        outputs=made,
        nodes={k: n for k, n in sorted(nodes.items()) if not k.startswith("prim::")},
    )


def _info(name: str, tensor: torch.Tensor, dynamic: bool) -> TensorInfo:
    batch: int | str = BATCH if dynamic else int(tensor.shape[0])
    rest = (int(size) for size in tensor.shape[1:])
    return TensorInfo(name, (batch, *rest), str(tensor.dtype).removeprefix("torch."))
