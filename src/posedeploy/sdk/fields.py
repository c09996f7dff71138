"""Typed access to parsed JSON, with errors that name the file and the JSON path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from posedeploy.errors import BadInputError

T = TypeVar("T")

# In Python a bool is an int, in JSON it is not; an integer is a valid JSON number.
_NAMES: dict[type, str] = {
    bool: "true or false", dict: "an object", float: "a number", int: "an integer",
    list: "an array", str: "a string",
}  # fmt: skip
MAX_NUMBER = 1e9  # far above any mean, sigma or count in a pipeline
MAX_SIDE = 4096  # px; networks' inputs have up to 1280


def show(value: Any) -> str:
    """A value for an error message: JSON-like and short."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def is_json(value: Any, kind: type) -> bool:
    """True if a parsed JSON value is of this kind (`float` takes integers, `int` no bools)."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


@dataclass(frozen=True)
class Node:
    """A value somewhere in a JSON file of an SDK model folder.

    Its methods raise a BadInputError where the JSON has something else, or an absurd number.
    """

    value: Any
    file: str  # file name, e.g. 'pipeline.json'
    path: str = "$"  # JSON path, e.g. '$.pipeline.tasks[1].name'

    @property
    def subject(self) -> str:
        """File and JSON path, as error messages begin."""
        return f"{self.file}: {self.path}"

    def error(self, expected: str, found: str | None = None) -> BadInputError:
        """The error to raise when this value is not what it should be."""
        found = show(self.value) if found is None else found
        next_step = f"Mend {self.file} or convert the model again."
        return BadInputError(self.subject, found, expected, next_step)

    def is_a(self, kind: type[T]) -> T:
        """The value, which must be of this JSON kind."""
        if not is_json(self.value, kind):
            raise self.error(_NAMES[kind])
        if kind in (int, float) and abs(self.value) > MAX_NUMBER:
            raise self.error(f"{_NAMES[kind]} of at most {MAX_NUMBER:g}")
        return self.value  # type: ignore[no-any-return]

    def has(self, key: str) -> bool:
        """True if this is an object with this key."""
        return isinstance(self.value, dict) and key in self.value

    def at(self, key: str) -> Node:
        """The member `key` of this object."""
        members = self.is_a(dict)
        if key not in members:
            raise self.error(f"a field {key!r}", f"an object without {key!r}")
        return Node(members[key], self.file, f"{self.path}.{key}")

    def items(self) -> list[Node]:
        """The elements of this array."""
        values = enumerate(self.is_a(list))
        return [Node(value, self.file, f"{self.path}[{i}]") for i, value in values]

    def all_of(self, kind: type[T]) -> tuple[T, ...]:
        """The elements of this array, which must all be of this kind."""
        return tuple(item.is_a(kind) for item in self.items())

    def get(self, key: str, kind: type[T], default: T) -> T:
        """The member `key`, or `default` where it is missing or null."""
        if not self.has(key) or self.value[key] is None:
            return default
        return self.at(key).is_a(kind)

    def record(self, kind: type[T]) -> T:
        """A dataclass from the members of its fields' names, each of the field's kind."""
        hints = get_type_hints(kind)
        return kind(**{name: self.at(name).is_a(hint) for name, hint in hints.items()})

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """The member `key`, an array of `count` numbers."""
        node = self.at(key)
        values = node.all_of(float)
        if len(values) != count:
            raise node.error(f"an array of {count} numbers")
        return tuple(map(float, values))

    def integers(self, count: int, low: int, high: int, expected: str) -> tuple[int, ...]:
        """The elements of this array of `count` integers from `low` to `high`."""
        values = self.all_of(int)
        if len(values) != count or not all(low <= value <= high for value in values):
            raise self.error(expected)
        return values

    def size(self, key: str) -> tuple[int, int]:
        """The member `key`, a size [w, h] in pixels or heatmap cells."""
        expected = f"[width, height], each from 1 to {MAX_SIDE}"
        width, height = self.at(key).integers(2, 1, MAX_SIDE, expected)
        return width, height

    def one_of(self, allowed: Sequence[Any]) -> Any:
        """The value, which must be one of these."""
        kind = type(self.value)
        if not any(self.value == choice and is_json(choice, kind) for choice in allowed):
            raise self.error(f"one of {', '.join(map(repr, allowed))}")
        return self.value
