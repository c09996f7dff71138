"""int8 for ncnn, in place of `ncnn2table` and `ncnn2int8`, which its wheels do not contain.

ncnn quantizes float32 weights while it loads them if a layer's parameter 8 is set and scales
follow its weights: 127 / largest weight for every output channel, and 127 / largest input once.
The largest inputs are measured by running the float32 files on the calibration set.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import LAST_LAYERS, LITEHRNET
from posedeploy.precision.ncnn_files import (
    Layer,
    Weights,
    kernel,
    read_param,
    walk,
    write_param,
)
from posedeploy.precision.outliers import MOST_CREST, OUTLIERS
from posedeploy.precision.qdq import Quantized
from posedeploy.runtime import SessionOptions
from posedeploy.runtime.ncnn import KEEP_BLOBS, Ncnn

_STEPS = 127.0
_MIN_RANGE = 1e-12  # a channel of zeros keeps a finite scale
_SCALE_TERM = 8  # parameter that declares which scales follow


# Layer type -> the parameter with the number of scales of its weights, and parameter 8's value.
# fmt: off
QUANTIZABLE: Mapping[str, tuple[int, str]] = {
    "Convolution":          (0, "2"),
    "ConvolutionDepthWise": (7, "1"),
    "InnerProduct":         (0, "2"),
}
# fmt: on
# Layers that multiply by learned weights; a Gemm or an attention stays float32 in this recipe.
_LEARNED = frozenset({*QUANTIZABLE, "Deconvolution", "DeconvolutionDepthWise", "Gemm"})


def quantize_ncnn(
    files: tuple[Path, Path],
    out: tuple[Path, Path],
    calibration: CalibrationSet,
    keep: Collection[str] | None = None,
) -> Quantized:
    """Write `.param` and `.bin` files whose convolutions and linear layers run in int8.

    Layers and blobs keep their names. `keep` names the layers that stay float32; None takes those
    of `float_layers`, and those whose input has outliers.

    Raises:
        ConversionError: A layer's weights cannot be found, or nothing could be quantized.
    """
    layers, content = read_param(files[0]), files[1].read_bytes()
    table = float_layers(layers)
    kept = table if keep is None else {name: table.get(name, "asked for") for name in keep}
    quantizable = [
        weights
        for weights in walk(layers, content)
        if weights.layer.type in QUANTIZABLE and weights.layer.name not in kept
    ]
    ranges = blob_ranges(files, {w.layer.inputs[0] for w in quantizable}, calibration)
    if keep is None:
        beside = [w.layer for w in quantizable if ranges[w.layer.inputs[0]].crest > MOST_CREST]
        kept = {layer.name: OUTLIERS for layer in beside} | kept
        quantizable = [weights for weights in quantizable if weights.layer.name not in kept]
    if not quantizable:
        raise ConversionError(
            "convert", files[0].name, "no layer that ncnn quantizes", "at least one",
            "Deploy it in fp32.",
        )  # fmt: skip
    largest = {name: values.largest for name, values in ranges.items()}
    out[1].write_bytes(_with_scales(content, quantizable, largest))
    terms = {w.layer.name: {_SCALE_TERM: QUANTIZABLE[w.layer.type][1]} for w in quantizable}
    written = (replace(x, params={**x.params, **terms.get(x.name, {})}) for x in layers)
    write_param(out[0], tuple(written))
    return Quantized(tuple(terms), kept)


def _with_scales(
    content: bytes, quantizable: Iterable[Weights], largest: Mapping[str, float]
) -> bytes:
    """The `.bin` file with scales after the weights and bias of every layer in `quantizable`."""
    chunks, copied = [], 0
    for weights in quantizable:
        count = weights.layer.number(QUANTIZABLE[weights.layer.type][0])
        peaks = np.abs(kernel(weights, content).reshape(count, -1)).max(axis=1)
        ranges = np.array([*peaks, largest[weights.layer.inputs[0]]], np.float64)
        scales = _STEPS / np.maximum(ranges, _MIN_RANGE)
        chunks += [content[copied : weights.end], scales.astype("<f4").tobytes()]
        copied = weights.end
    return b"".join([*chunks, content[copied:]])


@dataclass
class BlobRange:
    """What the values of a blob are like, over a calibration set."""

    largest: float = 0.0  # absolute value
    square: float = 0.0  # mean square
    runs: int = 0

    @property
    def crest(self) -> float:
        """The largest value over the root mean square."""
        return self.largest / max(math.sqrt(self.square), _MIN_RANGE)

    def add(self, values: NDArray[np.floating]) -> None:
        """Take the values of another run into account."""
        self.largest = max(self.largest, float(np.abs(values).max()))
        self.runs += 1
        self.square += (
            float(np.square(values, dtype=np.float64).mean()) - self.square
        ) / self.runs


def largest_values(
    files: tuple[Path, Path], blobs: Collection[str], calibration: CalibrationSet
) -> dict[str, float]:
    """The largest absolute value of each blob over the calibration set, as `blob_ranges`."""
    return {
        name: values.largest for name, values in blob_ranges(files, blobs, calibration).items()
    }


def blob_ranges(
    files: tuple[Path, Path], blobs: Collection[str], calibration: CalibrationSet
) -> dict[str, BlobRange]:
    """The range of each blob over the calibration set, in float32.

    Raises:
        ConversionError: ncnn refuses the files, or a blob cannot be extracted.
    """
    options = SessionOptions("fp32", extra={KEEP_BLOBS: "yes"})
    try:
        session = Ncnn().load(files, "cpu", options)
        ranges = {name: BlobRange() for name in sorted(blobs)}
        for array in calibration.with_progress("measuring ranges"):
            blobs_of = session.extract({session.inputs[0].name: array}, ranges)
            for name, values in blobs_of.items():
                ranges[name].add(values)
    except RuntimeError as error:
        raise ConversionError(
            "convert", files[0].name, str(error), "files that ncnn runs in float32", "Report this."
        ) from error
    return ranges


def float_layers(layers: Iterable[Layer]) -> dict[str, str]:
    """Layer name -> the part of `FLOAT_PARTS` it belongs to, for those that ncnn would quantize.

    Decode and NMS are on the host, and norms, softmax and attention have no int8 form in ncnn.
    """
    makers = {blob: layer for layer in layers for blob in layer.outputs}
    read = {blob for layer in layers for blob in layer.inputs}
    part_of: dict[str, str] = {}
    for blob in makers.keys() - read:
        for layer in _last_learned(makers, blob):
            part_of[layer.name] = LAST_LAYERS
            if depthwise := _depthwise_before(makers, layer):
                part_of[depthwise.name] = LITEHRNET
    return part_of


def _last_learned(makers: Mapping[str, Layer], blob: str) -> list[Layer]:
    front, seen, learned = [blob], set[str](), []
    while front:
        layer = makers.get(front.pop())
        if layer is None or layer.name in seen:
            continue
        seen.add(layer.name)
        if layer.type in _LEARNED:
            learned.append(layer)
        else:
            front.extend(layer.inputs)
    return learned


def _depthwise_before(makers: Mapping[str, Layer], last: Layer) -> Layer | None:
    """LiteHRNet's last depthwise convolution: one pointwise convolution follows it before `last`.

    pnnx names layers by type and number, so the layer is identified by its position.
    """
    layer: Layer | None = last
    for kind in ("Convolution", "Convolution", "ConvolutionDepthWise"):
        if layer is None or layer.type != kind:
            return None
        before, layer = layer, makers.get(layer.inputs[0])
    return before
