"""What a file may declare: a file from anywhere can name sizes that no machine should allocate."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from posedeploy.runtime.types import TensorInfo

MAX_BATCH = 1024  # images that a graph may declare; real ones have up to 64
MAX_CALL_BYTES = 512 * 2**20  # of one input or output; 64 images of 640 x 640 px have 315 MB
EXPECTED = f"sizes from 1, at most {MAX_BATCH} images and {MAX_CALL_BYTES >> 20} MiB in one call"


def beyond_limits(tensors: Iterable[TensorInfo]) -> str:
    """The first tensor that declares other sizes than `EXPECTED`, as words; '' if none does.

    A dynamic dimension counts as 1.  A graph with a static batch is run on that many images,
    however few there are.
    """
    for info in tensors:
        sizes = [size for size in info.shape if isinstance(size, int)]
        batch = info.shape[0] if info.shape else 1
        large = 4 * prod(sizes) > MAX_CALL_BYTES or (isinstance(batch, int) and batch > MAX_BATCH)
        if large or min(sizes, default=1) < 1:
            return f"{info.name!r} of shape [{', '.join(map(str, info.shape))}]"
    return ""


def refuse_beyond_limits(backend: str, tensors: Iterable[TensorInfo]) -> None:
    """Raise a RuntimeError for what `beyond_limits` finds."""
    if found := beyond_limits(tensors):
        raise RuntimeError(f"{backend}: {found}; expected {EXPECTED}")
