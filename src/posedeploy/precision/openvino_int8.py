"""int8 for OpenVINO: post-training quantization by NNCF, with the table of float parts."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import ConversionError, UnavailableError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import WEIGHTED as ONNX_WEIGHTED
from posedeploy.precision.qdq import Quantized, int8_float_nodes

# Operators with learned weights, as OpenVINO calls them.
WEIGHTED = ("Convolution", "ConvolutionBackpropData", "GroupConvolution",
            "GroupConvolutionBackpropData", "MatMul")  # fmt: skip
# ONNX operators whose inputs NNCF rounds; the others between them pass values on. With those left
# in float32 too, half of a LiteHRNet is.
_ONNX_QUANTIZED = (*ONNX_WEIGHTED, "Add", "Mul")
# Operations between a weight and its reader.
_BEHIND_WEIGHTS = ("Convert", "FakeQuantize", "Multiply", "Reshape", "Subtract")


def quantize_openvino(
    model: Any, ir: Path, calibration: CalibrationSet, keep: Collection[str] | None = None
) -> tuple[Any, Quantized]:
    """Quantize an `openvino.Model`, read from `ir`: per channel, min-max ranges, biases corrected.

    Operations keep their friendly names. `keep` names the ONNX nodes that stay float32; None takes
    those of `qdq.int8_float_nodes`.

    Raises:
        UnavailableError: NNCF is not installed.
        ConversionError: NNCF refuses the model, or nothing in it could be quantized.
    """
    import onnx

    original = onnx.load(ir)
    kept = int8_float_nodes(original, calibration, _ONNX_QUANTIZED, keep)
    quantized = _quantize(model, calibration, friendly_names(model, original.graph, kept))
    layers = quantized_layers(quantized)
    if not layers:
        raise ConversionError(
            "convert", str(ir), "no layer that was quantized", "at least one", "Deploy it in fp32."
        )
    return quantized, Quantized(layers, kept)


def _quantize(model: Any, calibration: CalibrationSet, ignored: list[str]) -> Any:
    try:
        import nncf
    except ImportError as error:
        raise UnavailableError(
            "nncf", f"not installed ({error})", "NNCF, which quantizes for OpenVINO",
            "Install it: python -m pip install nncf",
        ) from error  # fmt: skip
    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset(_Inputs(calibration))
    try:
        # NNCF draws progress bars on standard output
        with contextlib.redirect_stdout(io.StringIO()):
            return nncf.quantize(
                model,
                data,
                subset_size=calibration.count,
                target_device=nncf.TargetDevice.CPU,
                ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
            )
    except (nncf.errors.InternalError, nncf.errors.ValidationError, RuntimeError) as error:
        raise ConversionError(
            "convert", model.get_friendly_name(), f"{type(error).__name__}: {error}",
            "a model that NNCF quantizes", "Report this model.",
        ) from error  # fmt: skip


class _Inputs:
    """The inputs of a set as an iterable, which NNCF iterates more than once."""

    def __init__(self, calibration: CalibrationSet) -> None:
        self._calibration = calibration

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self._calibration.with_progress("quantizing")

    def __len__(self) -> int:
        return self._calibration.count


def friendly_names(model: Any, graph: Any, nodes: Mapping[str, str]) -> list[str]:
    """Friendly names of the operations made from ONNX nodes.

    OpenVINO's ONNX reader names an operation after the node, after the tensor if that is a graph
    output, and parts of a node with a slash and a suffix.
    """
    names = set(nodes)
    names |= {name for node in graph.node if node.name in nodes for name in node.output}
    return [
        name
        for operation in model.get_ops()
        if operation.get_type_name() not in {"Constant", "Parameter", "Result"}
        and ((name := operation.get_friendly_name()) in names or name.rsplit("/", 1)[0] in nodes)
    ]


def quantized_layers(model: Any) -> tuple[str, ...]:
    """Friendly names of the weighted operations whose weights have eight bits.

    They are stored so, or as float32 followed by a FakeQuantize (grouped convolutions).
    """
    return tuple(
        operation.get_friendly_name()
        for operation in model.get_ordered_ops()
        if operation.get_type_name() in WEIGHTED
        and _eight_bits(operation.input_value(1).get_node())
    )


def _eight_bits(node: Any) -> bool:
    """True if the constant is stored in eight bits, or rounded on its way to this node."""
    rounded = False
    while node.get_type_name() in _BEHIND_WEIGHTS:
        rounded = rounded or node.get_type_name() == "FakeQuantize"
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return False
    return rounded or node.get_output_element_type(0).get_type_name() in {"i8", "u8"}
