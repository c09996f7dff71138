"""The two exporters of PyTorch: exportable module → `onnx.ModelProto`, before the clean-up."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch

from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export.graph import BATCH, HIGH_OPSET, LOW_OPSET, set_shape
from posedeploy.export.module import ExportableModule
from posedeploy.export.nms import dynamo_operator
from posedeploy.export.tracing import static_shapes
from posedeploy.paths import scratch_folder

# Module, example images [N, 3, H, W] float32, opset, whether N stays dynamic -> `ModelProto`
# with the module's names of inputs and outputs.
Exporter = Callable[[ExportableModule, torch.Tensor, int, bool], Any]


def torchscript(
    module: ExportableModule, example: torch.Tensor, opset: int, dynamic_batch: bool
) -> Any:
    """`torch.onnx.export(dynamo=False)`: 2 to 20 times faster than dynamo today."""
    import onnx

    names = (*module.input_names, *module.output_names)
    with scratch_folder("onnx-export") as folder, _shapes_of(module) as shapes:
        path = folder / "traced.onnx"
        with _no_warnings("torch.onnx"), _no_graph_log(), static_shapes(), torch.no_grad():
            try:
                torch.onnx.export(
                    module.network,
                    (example,),
                    str(path),
                    dynamo=False,
                    opset_version=opset,
                    input_names=list(module.input_names),
                    output_names=list(module.output_names),
                    dynamic_axes={name: {0: BATCH} for name in names} if dynamic_batch else None,
                )
            except (RuntimeError, ValueError, TypeError) as error:
                # torch.onnx raises these for operators it cannot express; the rest is a bug
                _check_runs(module, example)
                raise ConversionError(
                    "export", "the TorchScript exporter", str(error).split("\n", 1)[0],
                    "a model that it can trace", "Try --exporter dynamo.",
                ) from error  # fmt: skip
        proto = onnx.load(str(path))
    for output in proto.graph.output:
        shape = shapes[module.output_names.index(output.name)]
        set_shape(output, [BATCH if dynamic_batch else shape[0], *shape[1:]])
    return proto


def dynamo(
    module: ExportableModule, example: torch.Tensor, opset: int, dynamic_batch: bool
) -> Any:
    """`torch.onnx.export(dynamo=True)`, PyTorch's future default.

    Always writes opset 18, the lowest that torch's translations support; the clean-up lowers it.

    Raises:
        BadInputError: The opset is below 17.
    """
    if opset < LOW_OPSET:
        raise BadInputError(
            "onnx_config.opset_version", str(opset),
            f"{LOW_OPSET} or {HIGH_OPSET} from the dynamo exporter",
            "Ask for opset 17, or export with --exporter torchscript.",
        )  # fmt: skip
    with _no_warnings("torch|onnxscript"), _no_messages(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module.network,
                (example,),
                dynamo=True,
                opset_version=max(opset, HIGH_OPSET),
                input_names=list(module.input_names),
                output_names=list(module.output_names),
                dynamic_shapes=({0: torch.export.Dim(BATCH)},) if dynamic_batch else None,
                custom_translation_table=_translations(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            _check_runs(module, example)
            raise ConversionError(
                "export", "the dynamo exporter",
                # the error itself is a long colored text; its cause names what failed
                str(error.__cause__ or error).strip().split("\n", 1)[0],
                "a model that torch.export can capture", "Try --exporter torchscript.",
            ) from error  # fmt: skip
    assert program is not None  # noqa: S101  always a program with dynamo=True
    return program.model_proto


def _check_runs(module: ExportableModule, example: torch.Tensor) -> None:
    """Raise ConversionError for a model that PyTorch cannot run: no exporter is to blame then."""
    try:
        with torch.no_grad():
            module.network(example)
    except Exception as error:  # a model is the user's code: anything can come out of it
        raise ConversionError(
            "export", f"the model, run by PyTorch on an input of {list(example.shape)}",
            f"{type(error).__name__}: {error}".split("\n", 1)[0], "a model that runs",
            "Correct the model's config: no exporter can help.",
        ) from error  # fmt: skip


EXPORTERS: Mapping[str, Exporter] = {"dynamo": dynamo, "torchscript": torchscript}


@contextmanager
def _shapes_of(module: ExportableModule) -> Iterator[list[list[int]]]:
    """Shapes of the outputs, recorded by a hook: the exporter loses them behind a `Resize`."""
    shapes: list[list[int]] = []

    def record(_network: object, _inputs: object, outputs: tuple[torch.Tensor, ...]) -> None:
        shapes[:] = [[int(size) for size in output.shape] for output in outputs]

    handle = module.network.register_forward_hook(record)
    try:
        yield shapes
    finally:
        handle.remove()


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    from onnxscript import opset18 as op

    def nms(
        boxes: Any, scores: Any, max_output: int, iou_threshold: float, score_threshold: float
    ) -> Any:
        return op.NonMaxSuppression(
            boxes,
            scores,
            op.Constant(value_ints=[max_output]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[score_threshold]),
        )

    dynamo_operator()
    return {torch.ops.posedeploy.non_max_suppression.default: nms}


@contextmanager
def _no_warnings(modules: str) -> Iterator[None]:
    """Ignore deprecations, and the user warnings of modules (a regular expression)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=modules)
        yield


@contextmanager
def _no_graph_log() -> Iterator[None]:
    """Prevent torch 2.13 from printing every graph that it cannot export.

    It tests whether this function exists, not what it returns, and so always switches its log on.
    """
    function = torch._C._jit_is_onnx_log_enabled
    vars(torch._C)["_jit_is_onnx_log_enabled"] = False
    try:
        yield
    finally:
        vars(torch._C)["_jit_is_onnx_log_enabled"] = function


@contextmanager
def _no_messages() -> Iterator[None]:
    """Silence progress messages, and the graphs that torch.export prints when it fails."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")  # they log what they fold
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        for logger in levels:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
