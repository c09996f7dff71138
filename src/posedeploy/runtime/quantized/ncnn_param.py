"""Layers of an ncnn net that compute in int8, in ncnn.

Such a layer has a parameter that is not 0, and its scales follow its weights in the `.bin`
(ncnn's sources, `src/layer/convolution.cpp` and its siblings, `load_model`).  ncnn computes a
blob from whatever blobs were given, so each layer runs alone on its float32 input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.quantized.noise import NoiseMeter, Quantized

# Layers that sum products -> the parameter with the number of int8 scales after their weights.
INT8_PARAMETER: Mapping[str, str] = {
    "Convolution": "8", "ConvolutionDepthWise": "8", "Gemm": "18", "InnerProduct": "8",
    "MultiHeadAttention": "18",
}  # fmt: skip
_SIXTEEN_BIT = (
    "use_bf16_packed", "use_bf16_storage", "use_fp16_arithmetic", "use_fp16_packed",
    "use_fp16_storage",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One line of a `.param` file: it reads the blobs `bottoms` and makes the blobs `tops`."""

    operator: str
    name: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    parameters: Mapping[str, str]

    @property
    def quantized(self) -> bool:
        """True if it computes in int8."""
        return self.parameters.get(INT8_PARAMETER.get(self.operator, ""), "0") != "0"


def measure(
    files: Sequence[str], float_files: Sequence[str], inputs: NDArray[np.float32]
) -> Quantized:
    """Noise of every quantized layer; see `noise`."""
    layers = [layer for layer in read_layers(Path(files[0])) if layer.quantized]
    exact_layers = list(read_layers(Path(float_files[0])))
    blobs = {blob for layer in exact_layers for blob in layer.tops}
    for layer in layers:
        if lost := sorted({*layer.bottoms, *layer.tops} - blobs):
            raise ValueError(f"{layer.name}: the float32 net has no blob {lost[0]}")
    meter = NoiseMeter()
    exact, quantized = _net(float_files), _net(files)
    start = next(layer.tops[0] for layer in exact_layers if layer.operator == "Input")
    for image in inputs:
        values = exact.create_extractor()
        _feed(values, start, image)
        for layer in layers:
            alone = quantized.create_extractor()
            for blob in layer.bottoms:
                _feed(alone, blob, _value(values, blob))
            meter.add(layer.name, _value(alone, layer.tops[0]), _value(values, layer.tops[0]))
    return Quantized(
        meter.layers({layer.name: layer.operator for layer in layers}),
        sum(layer.operator in INT8_PARAMETER for layer in exact_layers),
    )


def read_layers(param: Path) -> Iterator[Layer]:
    """The layers of a `.param` file."""
    for line in param.read_text(encoding="utf-8").splitlines()[2:]:  # magic, counts
        words = line.split()
        if words:
            end = 4 + int(words[2])
            last = end + int(words[3])
            parameters = dict(word.split("=", 1) for word in words[last:])
            blobs = tuple(words[4:end]), tuple(words[end:last])
            yield Layer(words[0], words[1], *blobs, parameters)


def _net(files: Sequence[str]) -> Any:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.lightmode = False  # blobs stay, so that each is computed once
    for switch in _SIXTEEN_BIT:
        setattr(net.opt, switch, False)
    for path, load in zip(files, (net.load_param, net.load_model), strict=False):
        if load(str(path)) != 0:
            raise ValueError(f"ncnn refuses {Path(path).name}")
    return net


def _feed(extractor: Any, blob: str, value: NDArray[Any]) -> None:
    import ncnn

    # a Mat made of an array shares its memory, and does not own it
    mat = ncnn.Mat(np.ascontiguousarray(value, np.float32)).clone()
    if extractor.input(blob, mat) != 0:
        raise ValueError(f"ncnn takes no input at blob {blob}")


def _value(extractor: Any, blob: str) -> NDArray[np.float32]:
    status, mat = extractor.extract(blob)
    if status != 0:
        raise ValueError(f"ncnn cannot compute blob {blob} (status {status})")
    return np.array(mat, np.float32)
