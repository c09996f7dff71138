"""PyTorch in 16 bits on any CPU: sums of products in float32, everything else as autocast does.

On a CPU without instructions for float16 a convolution in it takes PyTorch many times as long as
one in float32: the hourglass's reference did not come within a quarter of an hour.

What such instructions do is add products of 16-bit numbers in float32 and round the sum once,
which is what is done here, on every CPU alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

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
