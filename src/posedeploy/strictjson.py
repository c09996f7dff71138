"""JSON from a file that anybody may have written: stricter than Python's own reader.

Everything that is read here can be printed, written as UTF-8 and turned into a double.  Uses the
standard library alone, so that the toolchain and the report of its judge can use it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

MAX_DEPTH = 32  # real files have 8
_MAX_DIGITS = 308  # a double holds every integer of so many digits: 1e308
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str, *, max_depth: int = MAX_DEPTH) -> Any:
    """The JSON value in a text.

    Raises:
        ValueError: What was found: no JSON (a `json.JSONDecodeError`), a key twice in one object,
            NaN or infinity, a number that no double holds, half of a surrogate pair, or nesting
            deeper than `max_depth`.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float,
            parse_int=_int,
        )  # fmt: skip
    except RecursionError as error:
        raise ValueError(f"nesting deeper than {max_depth}") from error
    if depth(value, max_depth) > max_depth:
        raise ValueError(f"nesting deeper than {max_depth}")
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise ValueError(f"\\u{ord(half):04x}, half of a surrogate pair") from error
    return value


def depth(value: Any, limit: int = MAX_DEPTH) -> int:
    """Depth of nesting of a parsed JSON value; stops counting at `limit` + 1."""
    level, levels = [value], 0
    while level and levels <= limit:
        containers = [item for item in level if isinstance(item, dict | list)]
        levels += bool(containers)
        level = []
        for item in containers:
            level.extend(item.values() if isinstance(item, dict) else item)
    return levels


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        (double, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {double[:80]!r} twice in one object")
    return result


def _constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]}, larger than a double holds")
    return value


def _int(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"the number {text[:20]}…, larger than a double holds")
    return int(text)
