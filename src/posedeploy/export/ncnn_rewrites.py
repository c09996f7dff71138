"""What ncnn lacks, rewritten into what it has, on the way to pnnx.

| construct | in ncnn | here |
|---|---|---|
| `x[..., ::2, ::2]` (Focus of CSPDarknet) | `Tensor.slice`, unknown | a one-hot 2x2 convolution |
| `torch.linalg.norm` | unknown | `sqrt(sum(x * x))` |

Nothing is patched in mmpose: modules are replaced in a copy, functions while tracing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from posedeploy.export.module import ExportableModule, sharing_copy
from posedeploy.export.tracing import static_shapes

# Row and column of the pixel of each 2x2 block, in the order in which `Focus` stacks them.
_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))


class ConvolutionalFocus(nn.Module):
    """CSPDarknet's `Focus` without slices: each output channel picks one pixel of a 2x2 block.

    The kernel is one 1 among zeros, so that the result is exact.

    Args:
        focus: mmpose's module; its convolution is kept.
        channels: Channels of the image.
    """

    kernel: Tensor

    def __init__(self, focus: Any, channels: int = 3) -> None:
        super().__init__()
        kernel = torch.zeros(4 * channels, channels, 2, 2)
        for corner, (row, column) in enumerate(_CORNERS):
            for channel in range(channels):
                kernel[corner * channels + channel, channel, row, column] = 1.0
        self.register_buffer("kernel", kernel)
        self.conv = focus.conv

    def forward(self, x: Tensor) -> Tensor:
        """Image [N, 3, H, W] → features [N, C, H/2, W/2]."""
        picked = nn.functional.conv2d(x, self.kernel, stride=2)
        features: Tensor = self.conv(picked)
        return features


def without_slices(module: ExportableModule) -> ExportableModule:
    """The module with every `Focus` replaced, in a copy that shares its weights."""
    network = sharing_copy(module.network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "Focus":
                setattr(parent, name, ConvolutionalFocus(child))
    return dataclasses.replace(module, network=network.eval().requires_grad_(False))


def euclidean_norm(x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """`torch.linalg.norm(x, dim=dim)` in operators that ncnn has."""
    return (x * x).sum(dim, keepdim=keepdim).sqrt()


def _linalg_norm(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The rewrite where it holds: the 2-norm over one dimension."""
    given = dict(zip(("ord", "dim", "keepdim"), args, strict=False)) | kwargs
    dim = given.get("dim")
    if given.get("ord") in {None, 2} and isinstance(dim, int) and "dtype" not in given:
        return euclidean_norm(x, dim, bool(given.get("keepdim", False)))
    result: Tensor = torch.linalg.norm(x, *args, **kwargs)
    return result


_REPLACEMENTS: dict[Any, Callable[..., Any]] = {
    torch.linalg.norm: _linalg_norm,
}


class _NcnnOperators(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))


@contextmanager
def ncnn_operators() -> Iterator[None]:
    """Trace in this context: constant shapes, and no operator that the table above names."""
    with static_shapes(), _NcnnOperators():
        yield
