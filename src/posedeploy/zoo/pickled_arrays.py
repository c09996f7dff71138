"""numpy arrays in the pickles of checkpoints, without trusting what the pickle says of them.

numpy's own unpickling takes the flags of a dtype as they are written. Flags that are wrong make it
take the bytes of an array for addresses of objects: such a file crashes the process, and a crafted
one could run code. Here only the type, the shape and the bytes are taken; numpy checks that they
fit each other.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# Type codes in pickles: booleans, numbers, text, dates, and objects, a list of what was unpickled
_CODES = re.compile(r"b1|[iufc]\d{1,2}|[SU]\d{1,6}|[Mm]8|O8")
_ORDERS = ("<", ">", "=", "|")


class PickledDtype:
    """Replaces `numpy.dtype` while unpickling."""

    def __init__(self, code: object, _align: object = False, _copy: object = True) -> None:
        if not isinstance(code, str) or not _CODES.fullmatch(code):
            raise pickle.UnpicklingError(f"Unsupported type numpy.dtype of {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the byte order, and the unit of dates; none of the rest."""
        order, subdtype, names = state[1:4]
        if subdtype is not None or names is not None or order not in _ORDERS:
            raise pickle.UnpicklingError("Unsupported type numpy.dtype with fields")
        code = self.value.str[1:]
        if self.value.kind in "Mm":
            unit, count = state[8][1][:2]
            code += f"[{int(count)}{unit.decode()}]"
        self.value = np.dtype(code).newbyteorder(order)


class PickledArray(np.ndarray):
    """Replaces `numpy.ndarray` while unpickling."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take shape and content; the dtype is one that was made here."""
        _, shape, dtype, fortran_order, content = state
        columns_first: Any = bool(fortran_order)
        super().__setstate__((1, tuple(shape), dtype.value, columns_first, content))


def _reconstruct(*_: object) -> PickledArray:
    return PickledArray((0,))


def _scalar(dtype: PickledDtype, content: bytes = b"") -> Any:
    if dtype.value.hasobject:
        raise pickle.UnpicklingError("Unsupported type numpy.object_")
    if not dtype.value.itemsize:  # an empty text
        return dtype.value.type()
    return np.frombuffer(content, dtype.value, count=1)[0]


def allowed_globals() -> list[tuple[Callable[..., Any], str]]:
    """What takes the place of numpy's constructors, each with its name in pickles.

    numpy 1 has them in `numpy.core`, numpy 2 in `numpy._core`.
    """
    return [
        (PickledDtype, "numpy.dtype"),
        (PickledArray, "numpy.ndarray"),
        *((_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    ]


def plain(node: Any) -> Any:
    """A copy in which arrays and numpy's scalars are lists and Python's numbers.

    Pickles of it are read under any numpy.
    """
    if isinstance(node, np.ndarray | np.generic):
        return node.tolist()
    if isinstance(node, dict):
        return {plain(key): plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(map(plain, node))
    return node
