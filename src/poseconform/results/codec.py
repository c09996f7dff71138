"""Frozen dataclasses to plain JSON values and back, with floats that strict JSON can hold.

JSON has no NaN and no infinity, and a measurement may well be one.  They are written as the
strings `"NaN"`, `"Infinity"` and `"-Infinity"` and come back as floats.  Nothing is guessed when
reading: an unknown key, a missing field or a value of another type is a `ValueError` that
names its place in the document.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_plain(value: Any) -> Any:
    """`value` made of dict, list, str, int, finite float, bool and None only.

    Args:
        value: A dataclass instance, mapping, list, tuple, number (numpy scalars too), str or None.

    Raises:
        TypeError: Something else was found.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return _plain_scalar(value)


def dumps(value: Any) -> str:
    """Strict, compact and canonical JSON of `value`: equal values give equal strings."""
    return json.dumps(
        to_plain(value), allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )


def from_plain(kind: type[T], data: Any, where: str = "$") -> T:
    """The instance of dataclass `kind` that `to_plain` turned into `data`.

    Args:
        kind: A dataclass.
        data: Its plain form.
        where: The place in the document, for error messages.

    Raises:
        ValueError: `data` is not the plain form of a `kind`; the message says where.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where}: found {_short(data)}; expected an object ({kind.__name__})")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise ValueError(f"{where}.{key}: not a field of {kind.__name__}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _decode(hints[name], data[name], f"{where}.{name}")
        elif _is_required(field):
            raise ValueError(f"{where}: {kind.__name__} needs the field '{name}'")
    return kind(**values)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _decode(hint: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return _decode_union(args, data, where)
    if origin is tuple:
        _expect(isinstance(data, list), data, "a list", where)
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), data, "an object", where)
        return {key: _decode(args[1], item, f"{where}.{key}") for key, item in data.items()}
    kind: type[Any] = hint
    if dataclasses.is_dataclass(hint):
        return from_plain(kind, data, where)
    return _decode_scalar(hint, data, where)


def _decode_union(args: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in args:
        return None
    options = [arg for arg in args if arg is not type(None)]
    if len(options) == 1:
        return _decode(options[0], data, where)
    _expect(type(data) in options, data, " or ".join(o.__name__ for o in options), where)
    return data


def _decode_scalar(hint: Any, data: Any, where: str) -> Any:
    if hint is Any:
        return data
    if hint is float:
        if isinstance(data, str) and data in _NON_FINITE:
            return _NON_FINITE[data]
        _expect(isinstance(data, int | float) and not isinstance(data, bool), data, "float", where)
        return float(data)
    good = isinstance(data, hint) and not (hint is int and isinstance(data, bool))
    _expect(good, data, hint.__name__, where)
    return data


def _expect(good: bool, data: Any, expected: str, where: str) -> None:
    if not good:
        raise ValueError(f"{where}: found {_short(data)}; expected {expected}")


def _plain_scalar(value: Any) -> str | float | int | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)  # a StrEnum becomes a plain string
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _plain_float(float(value))
    raise TypeError(f"cannot be written as JSON: {type(value).__name__} {value!r}")


def _plain_float(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value + 0.0  # no negative zero: equal values must give equal strings


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."
