"""Stressed weights: the same function, with the ranges of networks in the field.

A published RTMPose-s has |x| up to 274 in front of its ScaleNorm, where float16's range ends at
|x| of about 37; weights that are made or trained here have up to 43. Exact reparametrizations
give them the ranges of the field. Factors are powers of two: every value keeps its digits, so that
in float32 nothing changes, and whatever changes in half precision is a matter of range.

`python -m posedeploy.synthetic.stressed MODEL CHECKPOINT TARGET LARGEST` writes such a checkpoint.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.paths import cache_dir, whole_file
from posedeploy.synthetic.calibration import image_batch
from posedeploy.synthetic.layers import MOST_BELOW_HALF, below_half
from posedeploy.synthetic.reparametrizations import REPARAMETRIZATIONS, Reparametrization
from posedeploy.synthetic.weights import KINDS, checkpoint_for
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.pickled_arrays import plain
from posedeploy.zoo.table import config_path, model_row

_LARGEST_HALF = float(torch.finfo(torch.float16).max)
_IMAGES, _SEED = 4, 9000  # far from the seeds of calibration


@dataclass(frozen=True)
class NormInput:
    """Largest |x| in front of a norm of this path, and the factor that is in it."""

    norm: str
    largest: float
    factor: float


def stress(
    model: nn.Module,
    run: Callable[[], object],
    target: float,
    rows: Iterable[Reparametrization] = REPARAMETRIZATIONS,
) -> tuple[NormInput, ...]:
    """Reparametrize a model in place so that |x| in front of its norms reaches `target`.

    A factor is the smallest power of two that does; it is smaller where weights would leave
    float16's normal range, in which those of trained networks are.

    Args:
        model: In evaluation mode, in float32 or float64.
        run: Runs it on images.
        target: Of the largest |x|.
        rows: What to apply, in this order.

    Returns:
        The norms of the rows, each with the factor that its input now has; 1.0 where it was
        large enough, or where weights allow no more.
    """
    norms = []
    for row in rows:
        for path, owner in row.owners(model):
            norm = ".".join(filter(None, (path, row.norm))) if row.norm else ""
            measured = largest_input(model, norm, run) if norm else 0.0
            wanted = 2.0 ** math.ceil(math.log2(target / measured)) if measured else row.most
            factor = _within_half(row, owner, wanted)
            multiply(row, owner, factor)
            if norm:
                norms.append(NormInput(norm, measured * factor, factor))
    return tuple(norms)


def multiply(row: Reparametrization, owner: nn.Module, factor: float) -> None:
    """Apply a row to one of its modules, in place."""
    with torch.no_grad():
        for tensor, power in row.tensors(owner):
            tensor.mul_(factor**power)


def largest_input(model: nn.Module, path: str, run: Callable[[], object]) -> float:
    """Largest |x| that a module reads in a run; 0.0 if it does not run."""
    seen = [0.0]

    def note(_module: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(float(args[0].detach().abs().max()))

    handle = model.get_submodule(path).register_forward_pre_hook(note)
    try:
        with torch.no_grad():
            run()
    finally:
        handle.remove()
    return max(seen)


def _within_half(row: Reparametrization, owner: nn.Module, factor: float) -> float:
    """The factor, or the largest half, quarter, ... of it that weights allow; 1.0 at least."""
    tensors = row.tensors(owner)
    while factor > 1 and not all(_normal(t.detach(), factor**power) for t, power in tensors):
        factor /= 2
    return max(factor, 1.0)


def _normal(tensor: torch.Tensor, gain: float) -> bool:
    """Whether a tensor times `gain` is in float16's normal range as far as it was before."""
    after = tensor * gain
    allowed = max(MOST_BELOW_HALF, below_half(tensor))
    return below_half(after) <= allowed and float(after.abs().max()) <= _LARGEST_HALF


def write_stressed(
    model: nn.Module, run: Callable[[], object], checkpoint: Path, target: float, file: Path
) -> tuple[NormInput, ...]:
    """Stress a model that holds the weights of a checkpoint, in place, and write them to a file.

    Raises:
        BadInputError: None of the model's norms has a free scale.
    """
    norms = stress(model, run, target)
    if not norms:
        raise BadInputError(
            f"{checkpoint}", "a model without a norm whose input may have any scale",
            "one with a row in posedeploy.synthetic.reparametrizations, such as RTMPose",
            "Judge it as it is, or add a row.",
        )  # fmt: skip
    meta = plain(load_checkpoint(checkpoint).meta)
    with whole_file(file) as temporary:
        torch.save({"meta": meta, "state_dict": model.state_dict()}, temporary)
    return norms


def main(words: Sequence[str]) -> int:
    """Write the stressed checkpoint of a model of the zoo; the exit code."""
    if len(words) != 4:
        print(
            "usage: python -m posedeploy.synthetic.stressed MODEL CHECKPOINT TARGET LARGEST\n"
            f"CHECKPOINT is a file or one of {', '.join(KINDS)}; LARGEST is |x| in front of norms",
            file=sys.stderr,
        )
        return 2
    name, source, file, largest = words
    try:
        config = load_model_config(config_path(model_row(name)))
        made = source in KINDS
        checkpoint = checkpoint_for(config, cache_dir(), name, kind=source) if made else source
        model: Any = build_model(config, Path(checkpoint))
        batch = image_batch(config, _IMAGES, _SEED)
        run = lambda: model.head.forward(model.extract_feat(batch))  # noqa: E731
        norms = write_stressed(model, run, Path(checkpoint), float(largest), Path(file))
    except BadInputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for row in norms:
        print(f"{row.norm}: |x| up to {row.largest:.4g}, {row.factor:g} times what it was")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
