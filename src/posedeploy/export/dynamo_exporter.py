"""The dynamo exporter: `torch.onnx.export(dynamo=True)`. Slower; PyTorch's future default."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export.graph import BATCH
from posedeploy.export.module import ExportableModule
from posedeploy.export.nms import dynamo_operator

NATIVE_OPSET = 18  # the lowest that torch's translations are written for
LOWEST_OPSET = 17
# They log what they fold or skip, which is of no use to a user
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")


def export(
    module: ExportableModule, example: torch.Tensor, opset: int, dynamic_batch: bool
) -> Any:
    """See `writer.Exporter`; always writes opset 18, from which the clean-up makes 17.

    Raises:
        BadInputError: An opset below 17 is asked for.
    """
    if opset < LOWEST_OPSET:
        raise BadInputError(
            "onnx_config.opset_version",
            str(opset),
            f"{LOWEST_OPSET} or {NATIVE_OPSET} from the dynamo exporter",
            "Ask for opset 17, or export with --exporter torchscript.",
        )
    shapes = ({0: torch.export.Dim(BATCH)},) if dynamic_batch else None
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module.network,
                (example,),
                dynamo=True,
                opset_version=max(opset, NATIVE_OPSET),
                input_names=list(module.input_names),
                output_names=list(module.output_names),
                dynamic_shapes=shapes,
                custom_translation_table=_translations(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ConversionError(
                "export",
                "the dynamo exporter",
                # the error itself is a long colored text; its cause names what failed
                str(error.__cause__ or error).strip().split("\n", 1)[0],
                "a model that torch.export can capture",
                "Try --exporter torchscript.",
            ) from error
    assert program is not None  # noqa: S101  always a program with dynamo=True
    return program.model_proto


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No expected warnings, and no progress messages."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    sink = io.StringIO()  # torch.export prints the graphs that it fails on
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="torch|onnxscript")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
