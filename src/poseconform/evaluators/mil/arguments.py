"""Parameters of an operation as what torch takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensor(value: Any) -> Tensor:
    """A tensor of a value or of a constant."""
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def optional(p: Mapping[str, Any], name: str) -> Tensor | None:
    """A tensor, None if the operation has no such parameter."""
    return tensor(p[name]) if name in p else None


def integers(value: Any) -> tuple[int, ...]:
    """A tuple of ints."""
    return tuple(int(v) for v in np.asarray(value).ravel())


def integer(value: Any) -> int:
    """One int."""
    return int(np.asarray(value).item())


def number(p: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """One float; `default` where the operation leaves it out, which without one is an error.

    Raises:
        KeyError: The operation lacks the parameter and it has no default.
    """
    return default if default is not None and name not in p else float(np.asarray(p[name]).item())


def flag(p: Mapping[str, Any], name: str) -> bool:
    """One bool; False where the operation leaves it out."""
    return bool(p.get(name, False))
