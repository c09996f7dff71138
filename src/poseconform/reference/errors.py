"""How far honest rounding at a precision goes: runs of the model in PyTorch, and their error.

16 bits are computed as autocast does, but with sums of products in float32, on every CPU alike:
instructions for float16 add products of 16-bit numbers in float32 and round the sum once. Without
them a convolution takes PyTorch many times as long as in float32: the hourglass's reference did
not come within a quarter of an hour.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from poseconform.reference.values import RUNS_OF

_ATEN = torch.ops.aten
# Whatever sums products: all that convolutions, linear layers and attention come down to.
SUMS_OF_PRODUCTS = frozenset({
    _ATEN.addmm.default, _ATEN.baddbmm.default, _ATEN.bmm.default, _ATEN.convolution.default,
    _ATEN.mm.default,
})  # fmt: skip
_HALVES = frozenset({torch.bfloat16, torch.float16})


class HalfSumsInFloat32(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes sums of products of 16-bit tensors in float32 and rounds the result once.

    It works below autocast, so it sees the tensors that autocast has cast.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every operation passes here."""
        more = dict(kwargs or {})
        if func not in SUMS_OF_PRODUCTS or args[0].dtype not in _HALVES:
            return func(*args, **more)
        wide = tree_map_only(torch.Tensor, lambda x: x.float(), (tuple(args), more))
        return func(*wide[0], **wide[1]).to(args[0].dtype)


# Sums of float32 -> whether they are divided by the number of terms
_SUMS: Mapping[Any, bool] = {_ATEN.mean.dim: True, _ATEN.sum.dim_IntList: False}
_LANES = 4  # float32 numbers in a register of SSE or NEON, the narrowest that backends add in


class SumsInOrder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds the terms of means and sums of float32 in order, in the four lanes of a register.

    PyTorch adds in a cascade, whose error hardly grows with the number of terms. ONNX Runtime's
    global average pooling (MLAS) adds as this does, bit for bit, and its error grows: over the
    12,288 cells that ViPNAS pools, 5.6e-6 of the mean against PyTorch's 1.2e-7. Both are honest.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every operation passes here."""
        if func not in _SUMS or args[0].dtype != torch.float32 or not args[1]:
            return func(*args, **(kwargs or {}))
        dims = sorted(int(dim) % args[0].ndim for dim in args[1])
        terms = np.moveaxis(args[0].numpy(), dims, range(len(dims)))
        terms = terms.reshape(-1, *terms.shape[len(dims) :])
        result = _sum_in_lanes(terms) / np.float32(len(terms) if _SUMS[func] else 1)
        keep = len(args) > 2 and args[2]
        return torch.from_numpy(np.expand_dims(result, dims if keep else ()))


def _sum_in_lanes(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum over axis 0."""
    rest = terms.shape[1:]
    zeros = np.zeros((-len(terms) % _LANES, *rest), np.float32)
    lanes = np.concatenate([terms, zeros]).reshape(-1, _LANES, *rest)
    a, b, c, d = np.add.accumulate(lanes, axis=0)[-1]  # in order; np.sum adds pairs of halves
    return np.asarray((a + c) + (b + d))


# A model -> the model as this run has it, and what casts its inputs
Run = Callable[[Any], "contextlib.AbstractContextManager[tuple[Any, Callable[[Any], Any]]]"]


@contextlib.contextmanager
def _plain(model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    yield model, lambda x: x


@contextlib.contextmanager
def _other_sums(model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    with SumsInOrder(), torch.backends.mkldnn.flags(enabled=False):
        yield model, lambda x: x


@contextlib.contextmanager
def _channels_last(model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    layout: Any = torch.channels_last
    yield copy.deepcopy(model).to(memory_format=layout), lambda x: x.to(memory_format=layout)


@contextlib.contextmanager
def _autocast(dtype: torch.dtype, model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    # a copy: RTMO's head keeps a tensor of a run, and float16 ones are refused in bf16's
    with HalfSumsInFloat32(), torch.autocast("cpu", dtype):
        yield copy.deepcopy(model), lambda x: x


# Precision of a flow -> honest runs, whose envelope is the reference error. One float32 run is
# noisy (channels_last alone has 2.4 times the error of the default on hourglass52), so there are
# three; the second adds in other orders, in convolutions without mkldnn and in means.
# Autocast, not `.half()`: a batch norm's running variance can exceed what float16 holds.
# int8 has no run of its own: its error is compared with float32's.
_RUNS: Mapping[str, tuple[Run, ...]] = {
    "bf16": (functools.partial(_autocast, torch.bfloat16),),
    "fp16": (functools.partial(_autocast, torch.float16),),
    "fp32": (_plain, _other_sums, _channels_last),
}
REF_ERRORS = {**_RUNS, **{precision: _RUNS[of] for precision, of in RUNS_OF.items()}}


def ref_error(errors: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """The four numbers of `values.RefError`."""
    if truth.size == 0:
        return np.zeros(4)
    rms = np.sqrt(np.square(errors).mean()), np.sqrt(np.square(truth).mean())
    return np.asarray([errors.max(), rms[0], np.abs(truth).max(), rms[1]])
