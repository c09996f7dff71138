"""Why ncnn's files compute something else than the traced module: what was found, and what to do.

float16 has no normal numbers below 6.1e-5, and ncnn stores smaller weights as 0; it ends at 65504.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.ncnn_files import kernel, read_param, walk
from posedeploy.precision.ncnn_int8 import largest_values

SMALLEST, LARGEST = float(np.finfo(np.float16).tiny), float(np.finfo(np.float16).max)
_MANY = 0.01  # part of a layer's weights; a trained network's worst layer has .4 %
_SHOWN = 3  # layers in a message

_WRONG_LAYER = (
    "pnnx has converted a layer into another function. Deploy this model on another backend, and "
    "report it with its config."
)
_FLOAT32 = "Deploy it in fp32, or in int8, where the layers that are not quantized stay float32."
_RESCALE = (
    "Deploy it in fp32; or scale these layers' weights up and those of a layer behind them down "
    "by the same factor, where only linear layers and ReLU lie between."
)


def diagnose_float16(
    files: tuple[Path, Path], wrong: Sequence[str], calibration: CalibrationSet
) -> tuple[str, str]:
    """What makes float16 files differ from the model, and what to do.

    Args:
        files: The same model's `.param` and `.bin` in float32.
        wrong: How the float32 files differ from the model; empty if they agree.
        calibration: Inputs on which the range of values is measured.
    """
    if wrong:
        return f"in float32 too: {'; '.join(wrong)}", _WRONG_LAYER
    small, large = weights_outside(files)
    blobs = {blob for layer in read_param(files[0]) for blob in layer.outputs}
    largest = largest_values(files, blobs, calibration)
    beyond = {name: f"{value:.3g}" for name, value in largest.items() if not value <= LARGEST}
    findings = [
        f"{what}: {_listed(layers)}"
        for what, layers in (
            (f"weights above {LARGEST:.0f}, where float16 ends", large),
            (f"values above {LARGEST:.0f}, where float16 ends", beyond),
            (f"weights below {SMALLEST:.1e}, which ncnn stores as 0 in float16", small),
        )
        if layers
    ]
    if not findings:
        found = f"weights and values within float16's range ({SMALLEST:.1e} to {LARGEST:.0f})"
        return found, f"The model is too sensitive for float16 here. {_FLOAT32}"
    return "; ".join(findings), _FLOAT32 if large or beyond else _RESCALE


def weights_outside(files: tuple[Path, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Layers of float32 files -> the part of their weights below, or the largest above, float16.

    A weight of 0 is in range.
    """
    content = files[1].read_bytes()
    small, large = dict[str, str](), dict[str, str]()
    for weights in walk(read_param(files[0]), content):
        values = np.abs(kernel(weights, content))
        below = float(((values > 0) & (values < SMALLEST)).mean()) if values.size else 0.0
        if below > _MANY:
            small[weights.layer.name] = f"{below:.0%}"
        if values.max(initial=0.0) > LARGEST:
            large[weights.layer.name] = f"{values.max():.3g}"
    return small, large


def _listed(layers: Mapping[str, str]) -> str:
    shown = [f"{name} ({fact})" for name, fact in list(layers.items())[:_SHOWN]]
    more = len(layers) - len(shown)
    return ", ".join(shown) + (f" and {more} more layers" if more else "")
