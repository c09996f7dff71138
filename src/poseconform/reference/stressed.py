"""A checkpoint of the same function with the ranges of trained networks; runs where torch is.

The toolchain makes it. The judge does not rely on that: here mmpose's own code shows in float64
that the function is the same, and the inputs of ScaleNorm are measured.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from poseconform.matrix.cells import Model
from poseconform.reference.heads import TopDown, reference_head
from poseconform.reference.network import final_outputs, load_model, prepare
from poseconform.reference.values import STRESSED_FILE, Sample
from poseconform.subject import mmpose_models

IMAGES = 2  # that ranges are measured and the two functions compared on
SAME = 1e-9  # largest difference in float64 over the largest value; rounding makes 1e-15
_NORM = "ScaleNorm"


def write_stressed(
    judged: Model, checkpoint: str, target: float, samples: Sequence[Sample], folder: str
) -> Mapping[str, object]:
    """Write `stressed.pth`, with |x| of `target` or more in front of ScaleNorm.

    Returns:
        'norm_input', the largest |x| in front of a ScaleNorm, and 'norm', its path.

    Raises:
        ValueError: The two functions differ, or |x| is less.
    """
    torch.set_num_threads(1)
    head, plain = reference_head(judged.head), load_model(judged.config, checkpoint)
    samples = samples[:IMAGES]
    inputs = prepare(plain, samples, top_down=isinstance(head.kind, TopDown))["inputs"]
    model, path = copy.deepcopy(plain), Path(folder) / STRESSED_FILE
    run = lambda: final_outputs(head, model, inputs)  # noqa: E731
    mmpose_models.write_stressed(model, run, Path(checkpoint), target, path)
    largest = norm_inputs(model, run)
    norm = max(largest, key=lambda name: largest[name])
    before, after = (
        final_outputs(head, copy.deepcopy(one).double(), inputs.double()) for one in (plain, model)
    )
    difference = max(
        float(np.abs(after[name] - truth).max() / np.abs(truth).max())
        for name, truth in before.items()
    )
    if not difference <= SAME or not largest[norm] >= target:
        raise ValueError(
            f"stressed weights of {judged.name}: outputs differ by {difference:.2g} in float64, "
            f"and |x| is up to {largest[norm]:.4g} in front of {norm}; expected at most {SAME:g}, "
            f"and {target:g} or more"
        )
    return {"norm_input": largest[norm], "norm": norm}


def norm_inputs(model: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """Largest |x| in front of each ScaleNorm that runs, by its path."""
    largest: dict[str, float] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            largest[name] = max(largest.get(name, 0.0), float(args[0].detach().abs().max()))

        return hook

    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules()
        if type(module).__name__ == _NORM
    ]
    try:
        run()
    finally:
        for handle in hooks:
            handle.remove()
    return largest
