"""Static shapes while a module is traced.

`torch.jit.trace` records a tensor's shape as a computation: reading a size adds a chain of nodes
to the graph, and an operator that requires a constant (LiteHRNet's adaptive pooling) cannot be
exported. This mode makes C, H and W of feature maps [N, C, H, W] constants. It changes no module.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@contextmanager
def static_shapes() -> Iterator[None]:
    """Trace in this context: C, H and W of feature maps are constants, N stays dynamic."""
    with warnings.catch_warnings(), Replacing(_REPLACEMENTS):
        # int() of a traced size is meant here
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


class Replacing(TorchFunctionMode):
    """While active, calls of the functions of a table go to their replacements."""

    def __init__(self, replacements: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self._replacements = replacements

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._replacements.get(func, func)(*args, **(kwargs or {}))


def _ints(sizes: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in sizes)


def _shape(tensor: Tensor) -> Sequence[Any]:
    shape = tensor.shape
    return torch.Size((shape[0], *_ints(shape[1:]))) if tensor.dim() == 4 else shape


def _size(tensor: Tensor, dim: int | None = None) -> Any:
    if dim is None:
        return _shape(tensor)
    size = tensor.size(dim)
    return int(size) if tensor.dim() == 4 and dim % 4 else size


def _chunk(tensor: Tensor, chunks: int, dim: int = 0) -> Any:
    if tensor.dim() != 4 or dim % 4 == 0:
        return tensor.chunk(chunks, dim)
    return torch.split(tensor, math.ceil(int(tensor.shape[dim]) / chunks), dim)


def _interpolate(
    input: Tensor,  # noqa: A002  PyTorch's name
    size: Any = None,
    scale_factor: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """With a constant scale where that is exact: `Resize` then needs no shape of the batch."""
    if size is None or input.dim() != 4:
        return functional.interpolate(input, size, scale_factor, *args, **kwargs)
    target = _ints(size) if isinstance(size, Sequence) else (int(size), int(size))
    source = _ints(input.shape[2:])
    if any(to % of for to, of in zip(target, source, strict=True)):
        return functional.interpolate(input, target, scale_factor, *args, **kwargs)
    scales = tuple(float(to // of) for to, of in zip(target, source, strict=True))
    return functional.interpolate(input, None, scales, *args, **kwargs)


def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002
    """As average pooling with a constant kernel where the sizes divide (ONNX has no other)."""
    target = _ints(output_size) if isinstance(output_size, Sequence) else (int(output_size),) * 2
    source = _ints(input.shape[-2:])
    if target == (1, 1) or any(of % to for to, of in zip(target, source, strict=True)):
        return functional.adaptive_avg_pool2d(input, target)  # type: ignore[arg-type]
    kernel = (source[0] // target[0], source[1] // target[1])
    return functional.avg_pool2d(input, kernel, kernel)


_REPLACEMENTS: dict[Any, Callable[..., Any]] = {
    functional.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    functional.interpolate: _interpolate,
    Tensor.chunk: _chunk,
    Tensor.shape.__get__: _shape,  # type: ignore[attr-defined]
    Tensor.size: _size,
}
