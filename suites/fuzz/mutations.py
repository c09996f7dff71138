"""Changes of JSON at one place: libFuzzer's own changes of bytes mostly leave no JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Mutator = Callable[[bytes, int, int], bytes]  # an input, most bytes and a seed -> an input

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.0, 1e-320, 1e308, 2**31, 2**63, -(2**63) - 1, 10**307,
    10**400, "", "a", "\n", "\0", "\u202e", "\ud800", "NaN", "-Infinity", "<script>", "#99",
    "a" * 300, [], {}, [[]], [0], [0, 0], [1e308] * 3, {"": {}}, "2026-01-01T00:00:00+00:00",
)  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else []
    for key in range(len(value)) if isinstance(value, list) else keys:
        yield value, key
        yield from _places(value[key])


def mutate_json(data: bytes, choice: random.Random) -> bytes:
    """The same JSON with one to three places changed; a ValueError where it is none."""
    value = json.loads(data)
    for _ in range(choice.randint(1, 3)):
        places = list(_places(value))
        if not places:
            break
        (container, key), (other, other_key) = choice.choice(places), choice.choice(places)
        copied = json.loads(json.dumps(other[other_key]))
        match choice.randrange(5):
            case 0:
                del container[key]
            case 1 if isinstance(container, list):
                container.insert(key, copied)
            case 1:
                container[str(other_key)] = copied
            case 2:
                container[key] = copied
            case _:
                container[key] = choice.choice(VALUES)
    return json.dumps(value, separators=(",", ":")).encode()


def mutator(plain: Callable[[bytes, int], bytes], separator: bytes | None) -> Mutator:
    """Changes a part of an input, between separators, as JSON, or else as bytes with `plain`."""

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        choice = random.Random(seed)  # noqa: S311 - nothing secret
        parts = [data] if separator is None else data.split(separator, 3)
        if choice.random() < 0.2:
            return plain(data, longest)
        index = choice.randrange(len(parts))
        try:
            parts[index] = mutate_json(parts[index], choice)
        except (ValueError, RecursionError):
            parts[index] = plain(parts[index], longest)
        return (separator or b"").join(parts)[:longest]

    return mutate
