"""Typed access to parsed JSON, with errors that name the file and the JSON path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from posedeploy.errors import BadInputError

T = TypeVar("T")

# In Python a bool is an int, in JSON it is not; an integer is a valid JSON number.
_NAMES: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "an array",
    str: "a string",
}
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
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)


@dataclass(frozen=True)
class Node:
    """A value somewhere in a JSON file of an SDK model folder.

    Attributes:
        value: The parsed value.
        file: File name, e.g. 'pipeline.json'.
        path: JSON path, e.g. '$.pipeline.tasks[1].name'.
    """

    value: Any
    file: str
    path: str = "$"

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
        """The value, which must be of this JSON kind.

        Raises:
            BadInputError: It is of another kind, or a number of absurd size.
        """
        if not is_json(self.value, kind):
            raise self.error(_NAMES[kind])
        if kind in (int, float) and abs(self.value) > MAX_NUMBER:
            raise self.error(f"{_NAMES[kind]} of at most {MAX_NUMBER:g}")
        return self.value  # type: ignore[no-any-return]

    def has(self, key: str) -> bool:
        """True if this is an object with this key."""
        return isinstance(self.value, dict) and key in self.value

    def at(self, key: str) -> Node:
        """The member `key` of this object.

        Raises:
            BadInputError: This is no object, or it has no such member.
        """
        members = self.is_a(dict)
        if key not in members:
            raise self.error(f"a field {key!r}", f"an object without {key!r}")
        return Node(members[key], self.file, f"{self.path}.{key}")

    def items(self) -> list[Node]:
        """The elements of this array."""
        values = enumerate(self.is_a(list))
        return [Node(value, self.file, f"{self.path}[{i}]") for i, value in values]

    def get(self, key: str, kind: type[T], default: T) -> T:
        """The member `key`, or `default` where it is missing or null."""
        if not self.has(key) or self.value[key] is None:
            return default
        return self.at(key).is_a(kind)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """The member `key`, an array of `count` numbers."""
        node = self.at(key)
        items = node.items()
        if len(items) != count:
            raise node.error(f"an array of {count} numbers")
        return tuple(float(item.is_a(float)) for item in items)

    def size(self, key: str) -> tuple[int, int]:
        """The member `key`, a size [w, h] in pixels or heatmap cells."""
        node = self.at(key)
        sides = [item.is_a(int) for item in node.items()]
        if len(sides) != 2 or not all(0 < side <= MAX_SIDE for side in sides):
            raise node.error(f"[width, height], each from 1 to {MAX_SIDE}")
        return sides[0], sides[1]

    def one_of(self, allowed: Sequence[Any]) -> Any:
        """The value, which must be one of these."""
        if not any(
            self.value == choice and is_json(choice, type(self.value)) for choice in allowed
        ):
            raise self.error(f"one of {', '.join(map(repr, allowed))}")
        return self.value
