"""The forms that a model can be exported in: ONNX, a TorchScript trace, a `torch.export` program.

Archives of TorchScript and `torch.export` hold names, shapes and types of inputs and outputs as an
extra file.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export.detection import detection_settings
from posedeploy.export.exporters import EXPORTERS, Exporter
from posedeploy.export.graph import BATCH, clean, problems, write_checked
from posedeploy.export.module import ExportableModule
from posedeploy.export.ncnn_rewrites import ncnn_operators, with_ncnn_modules
from posedeploy.export.tracing import static_shapes
from posedeploy.heads import load
from posedeploy.runtime.torchscript import SIGNATURE, signature_text
from posedeploy.runtime.types import TensorInfo

TRACED_FILE = "end2end.pt"
# A batch of two while tracing: a batch of one is folded into constants
TRACED_BATCH = {"static": 1, "dynamic": 2}
# What torch.jit and torch.export raise for a module that they cannot capture; the rest is a bug
_REFUSALS = (RuntimeError, ValueError, TypeError)


@dataclass(frozen=True)
class ExportedGraph:
    """One exported file, which holds everything, weights included."""

    path: Path
    exporter: str
    nodes: Mapping[str, int]  # operator -> count
    opset: int = 0  # of ONNX; dynamo may write 18 where 17 was asked for
    ir_version: int = 0  # of ONNX


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
    exporters: Mapping[str, Exporter] = EXPORTERS,
) -> ExportedGraph:
    """Write a module as one ONNX file.

    `exporter` is a name of `exporters`; None takes the deploy config's.

    Raises:
        BadInputError: No such exporter.
        ConversionError: PyTorch cannot export the module, or what it wrote breaks the contract.
    """
    name = exporter or deploy_config.exporter
    if name not in exporters:
        raise BadInputError(
            "--exporter", repr(name), f"one of {', '.join(exporters)}", "Choose one of them."
        )
    dynamic = deploy_config.dynamic_batch
    example = example_input(module, TRACED_BATCH[deploy_config.shape_mode])
    exported = exporters[name](module, example, deploy_config.opset, dynamic)
    proto = clean(exported, deploy_config.opset)
    messages = problems(proto, module.input_names, module.output_names, BATCH if dynamic else 1)
    if messages:
        raise ConversionError(
            "export", f"{out_path.name} from the {name} exporter", "; ".join(messages),
            "a clean graph of standard operators",
            "Try the other exporter with --exporter, and report this model.",
        )  # fmt: skip
    write_checked(proto, out_path)
    nodes = _counts(node.op_type for node in proto.graph.node)
    return ExportedGraph(out_path, name, nodes, proto.opset_import[0].version, proto.ir_version)


def export_trace(
    module: ExportableModule,
    deploy_config: DeployConfig,
    out_path: Path,
    context: Callable[[], AbstractContextManager[None]] = static_shapes,
) -> ExportedGraph:
    """Trace a module in a context and save it.

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
        signature = _signature(module, example, deploy_config.dynamic_batch)
    torch.jit.save(traced, str(out_path), _extra_files={SIGNATURE: signature})
    kinds = (node.kind() for node in traced.inlined_graph.nodes())
    nodes = (kind.removeprefix("aten::") for kind in kinds if not kind.startswith("prim::"))
    return ExportedGraph(out_path, "trace", _counts(nodes))


def export_program(
    module: ExportableModule, deploy_config: DeployConfig, out_path: Path
) -> ExportedGraph:
    """Capture a module with `torch.export` and save it as a `.pt2` file.

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
        signature = _signature(module, example, dynamic=False)
    torch.export.save(program, out_path, extra_files={SIGNATURE: signature})
    calls = (str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return ExportedGraph(out_path, "torch.export", _counts(calls))


def _signature(module: ExportableModule, example: torch.Tensor, dynamic: bool) -> str:
    def info(name: str, tensor: torch.Tensor) -> TensorInfo:
        batch: int | str = BATCH if dynamic else int(tensor.shape[0])
        rest = (int(size) for size in tensor.shape[1:])
        return TensorInfo(name, (batch, *rest), str(tensor.dtype).removeprefix("torch."))

    outputs = zip(module.output_names, module.network(example), strict=True)
    return signature_text([info(module.input_names[0], example)], [info(*o) for o in outputs])


def _counts(nodes: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(nodes).items()))


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
        module, config, folder / "end2end.pt2"),
    "ncnn":             lambda module, config, folder, _: export_trace(
        with_ncnn_modules(module), config, folder / TRACED_FILE, ncnn_operators),
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
    """Parameters of the host's post-processing component; empty for the whole graph.

    These are 'stage' and, for detectors, the fields of `DetectionSettings` and, where the host
    needs weights, the name of the file in `folder` that they are written to as 'weights'.
    """
    stage, weights = module.stage, folder / "end2end.npz"
    if stage.host_weights:
        load(stage.host_weights)(model, module.input_size, weights)
    written = {"weights": weights.name} if weights.is_file() else {}
    if stage == module.head_kind.stages[0]:
        return {"stage": stage.name, **written} if written else {}
    if module.head_kind.top_down:
        return {"stage": stage.name}
    settings = detection_settings(model_config, deploy_config)
    return {"stage": stage.name, **asdict(settings), **written}
