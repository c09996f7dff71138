"""The dynamo exporter: `torch.onnx.export(dynamo=True)`. Slower today, and the one to come."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from posedeploy.errors import ConversionError

from .graph import BATCH
from .module import ExportableModule
from .nms import dynamo_operator

NATIVE_OPSET = 18  # the lowest that torch's translations are written for


def export(
    module: ExportableModule, example: torch.Tensor, opset: int, dynamic_batch: bool
) -> Any:
    """See `writer.Exporter`; writes opset 18 whatever lower one is asked for."""
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
                str(error).split("\n", 1)[0],
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
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
