"""What of a network leaves float16's range: values, sums and weights, operation by operation.

The network runs in float32 and nothing is rounded: a CPU that has no arithmetic in float16 shows
as much as one that has. A batch norm behind a convolution is part of it, as in exported graphs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from posedeploy.precision.outliers import MOST_CREST
from posedeploy.synthetic.layers import MOST_BELOW_HALF, SMALLEST_HALF, below_half

LARGEST_HALF = float(torch.finfo(torch.float16).max)
MOST_FLUSHED = 2.0**-11  # of a tensor's norm: float16's rounding of a normal number
_BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training")
_COPIES = frozenset({"_to_copy", "_unsafe_view", "clone", "copy_"})  # they compute nothing
aten = torch.ops.aten


@dataclass(frozen=True)
class Range:
    """An operation: the largest figures of all inputs and of all values of its output.

    Attributes:
        module: Path of the innermost module that it runs in.
        operator: Its name in ATen; 'convolution, batch_norm' for both as one.
        depth: Its place in the order of the run, from 0.
        largest: |x| of the output.
        total: Of what it accumulates in, which bounds every partial sum: sum of |x * w| of
            products, of x * x of norms, of |x| of means; 0 for operations that sum nothing.
        flushed: Part of the output's 2-norm in values below float16's smallest normal number.
        crest: `largest` over the output's root mean square.
        weight: |w| of its weights; 0 without.
        weight_below: Part of the weights other than 0 below float16's smallest normal number.
    """

    module: str
    operator: str
    depth: int
    largest: float
    total: float
    flushed: float
    crest: float
    weight: float = 0.0
    weight_below: float = 0.0

    @property
    def risks(self) -> tuple[str, ...]:
        """Names of the rows of `RISKS` that apply."""
        return tuple(name for name, row in RISKS.items() if row.applies(self))

    @property
    def overflows(self) -> bool:
        """Whether values or sums leave float16, which no backend can mend by itself."""
        return not OVERFLOWS.isdisjoint(self.risks)


@dataclass(frozen=True)
class Risk:
    """What may go wrong below float32; `why` is for a person."""

    why: str
    applies: Callable[[Range], bool]


# ---- modify this table to look for something else: the worst first ---------------------------
# fmt: off
RISKS: Mapping[str, Risk] = {
    "value":  Risk("values above 65504, where float16 ends",
                   lambda r: not r.largest <= LARGEST_HALF),
    "sum":    Risk("sums above 65504 where they are accumulated in float16",
                   lambda r: not r.total <= LARGEST_HALF),
    "weight": Risk("weights above 65504, or more than 1 % of them below 6.1e-5, where some "
                   "backends take them for 0",
                   lambda r: r.weight > LARGEST_HALF or r.weight_below > MOST_BELOW_HALF),
    "flush":  Risk("values below 6.1e-5 that make more of a tensor than its rounding",
                   lambda r: r.flushed > MOST_FLUSHED),
    "int8":   Risk("outliers: int8 leaves most values a few steps",
                   lambda r: r.crest > MOST_CREST),
}
# fmt: on
# ----------------------------------------------------------------------------------------------
OVERFLOWS = frozenset({"value", "sum"})


def network_ranges(
    network: nn.Module, inputs: Iterable[NDArray[np.float32]], prefix: str = ""
) -> tuple[Range, ...]:
    """The operations of a network that make floating-point numbers, in the order of the run.

    Args:
        network: Takes [1, 3, H, W] float32.
        inputs: Arrays of that shape.
        prefix: What is taken off the front of modules' paths.
    """
    recorder = _Recorder(network)
    with recorder.naming(prefix), torch.no_grad():
        for array in inputs:
            recorder.run(array)
    rows = recorder.rows.values()
    return tuple(replace(row, depth=depth) for depth, row in enumerate(rows))


def _of_absolutes(func: Any) -> Callable[..., Tensor]:
    """The operator itself on absolute values: sums of |x * w|."""

    def total(*args: Any, **kwargs: Any) -> Tensor:
        values = [value.abs() if isinstance(value, Tensor) else value for value in args]
        result: Tensor = func(*values, **kwargs)
        return result

    return total


def _squares(x: Tensor, order: float = 2, *args: Any, **kwargs: Any) -> Tensor:
    """Sums of squares; of norms of another order there is none."""
    norm: Tensor = aten.linalg_vector_norm(x, order, *args, **kwargs)
    return norm.square() if order == 2 else torch.zeros(())


def _deviations(x: Tensor, shape: list[int], *_: Any) -> Tensor:
    """Sums of squared deviations of the mean, over the last dimensions."""
    axes = tuple(range(-len(shape), 0))
    return (x - x.mean(axes, keepdim=True)).square().sum(axes)


# ---- modify this table when an operator sums: its arguments -> what is accumulated -------------
_ACCUMULATED: Mapping[Any, Callable[..., Tensor]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, *_, **__: q.abs() @ k.abs().mT,
    aten.addmm: _of_absolutes(aten.addmm),
    aten.baddbmm: _of_absolutes(aten.baddbmm),
    aten.bmm: _of_absolutes(aten.bmm),
    aten.convolution: _of_absolutes(aten.convolution),
    aten.linalg_vector_norm: _squares,
    aten.mean: _of_absolutes(aten.sum),
    aten.mm: _of_absolutes(aten.mm),
    aten.native_layer_norm: _deviations,
    aten.sum: _of_absolutes(aten.sum),
}
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution whose batch norm may follow."""

    place: tuple[str, int]
    row: Range
    output: Tensor  # [N, C, ...]
    totals: Tensor  # what it accumulates, of the output's shape
    args: Any  # of aten.convolution

    def folded(self, output: Tensor, args: Any) -> Range:
        """The figures of both as one convolution; `args` are those of aten.native_batch_norm."""
        _, gain, bias, mean, variance, _, _, epsilon = args
        scale = (variance + epsilon).rsqrt() * (1.0 if gain is None else gain)
        shift = (0.0 if bias is None else bias) - mean * scale
        weight, transposed = self.args[1], self.args[6]
        axis = int(transposed and weight.shape[0] != len(scale))  # [C_in, C_out / groups, ...]
        along = [1] * weight.ndim
        along[axis] = -1
        totals = self.totals.transpose(1, -1) * scale.abs() + shift.abs()
        return _facts(output, totals, [weight * scale.reshape(along)])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps a `Range` for every operation, by module, operator and how often it has occurred."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: dict[tuple[str, int, str], Range] = {}
        self._occurred: Counter[tuple[str, str]] = Counter()
        self._network = network
        self._modules = [""]
        self._convolution: _Convolution | None = None
        tensors = (*network.parameters(), *network.buffers())
        self._weights = {tensor.untyped_storage().data_ptr() for tensor in tensors}

    def run(self, array: NDArray[np.float32]) -> None:
        """Run the network on an input."""
        self._occurred.clear()
        with self:
            self._network(torch.from_numpy(array))
        self.flush(self._convolution)

    @contextmanager
    def naming(self, prefix: str) -> Iterator[None]:
        """Follow in which module operations run."""
        hooks: list[Any] = []
        for name, module in self._network.named_modules():
            path = name.removeprefix(prefix)
            enter = lambda *_, path=path: self._modules.append(path)  # noqa: E731
            leave = lambda *_: self._modules.pop() and None  # noqa: E731
            hooks += [
                module.register_forward_pre_hook(enter),
                module.register_forward_hook(leave, always_call=True),
            ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple) else result
        aliases = func._schema.returns and func._schema.returns[0].alias_info
        copies = func.overloadpacket.__name__ in _COPIES
        view = copies or (aliases is not None and not aliases.is_write)
        computed = isinstance(output, Tensor) and output.is_floating_point() and output.numel()
        if computed and not view and args:
            self._record(func.overloadpacket, output, args, kwargs or {})
        return result

    def _record(self, operator: Any, output: Tensor, args: Any, kwargs: dict[str, Any]) -> None:
        before, self._convolution = self._convolution, None
        if before and operator.__name__ in _BATCH_NORMS and args[0] is before.output:
            self._add((*before.place, "convolution, batch_norm"), before.folded(output, args))
            return
        self.flush(before)
        accumulate = _ACCUMULATED.get(operator)
        sums = None if accumulate is None else accumulate(*args, **kwargs)
        weights = [w for w in args if isinstance(w, Tensor) and self._is_weight(w)]
        row, place = _facts(output, sums, weights), self._place(operator.__name__)
        if sums is not None and operator is aten.convolution:
            self._convolution = _Convolution(place, row, output, sums, args)
        else:
            self._add((*place, operator.__name__), row)

    def flush(self, convolution: _Convolution | None) -> None:
        """Add a convolution that no batch norm follows."""
        if convolution:
            self._add((*convolution.place, "convolution"), convolution.row)

    def _is_weight(self, tensor: Tensor) -> bool:
        kept = tensor.untyped_storage().data_ptr() in self._weights
        return kept and tensor.ndim > 1 and tensor.is_floating_point()

    def _place(self, operator: str) -> tuple[str, int]:
        """The module that runs, and how many times this operator has run in it on this input."""
        self._occurred[self._modules[-1], operator] += 1
        return self._modules[-1], self._occurred[self._modules[-1], operator]

    def _add(self, key: tuple[str, int, str], row: Range) -> None:
        row = replace(row, module=key[0], operator=key[2])
        if seen := self.rows.get(key):
            names = ("largest", "total", "flushed", "crest")
            figures = asdict(row)
            row = replace(seen, **{n: max(getattr(seen, n), figures[n]) for n in names})
        self.rows[key] = row


def _facts(output: Tensor, sums: Tensor | None, weights: list[Tensor]) -> Range:
    """The figures of one run of an operation, without its name."""
    values = output.abs().double()
    squares = values.square()
    norm = float(squares.sum().sqrt().clamp(min=torch.finfo(torch.float64).tiny))
    small = float(squares[values < SMALLEST_HALF].sum().sqrt())
    return Range(
        module="", operator="", depth=0,
        largest=float(values.max()),
        total=0.0 if sums is None else float(sums.abs().max()),
        flushed=small / norm,
        crest=float(values.max()) / norm * output.numel() ** 0.5,
        weight=max((float(w.abs().max()) for w in weights), default=0.0),
        weight_below=max(map(below_half, weights), default=0.0),
    )  # fmt: skip
