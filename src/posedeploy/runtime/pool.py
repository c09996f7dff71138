"""What holds the arrays of one call: each call of a session takes one that no other call has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """As many as calls have run at the same time; one whose call failed is dropped."""

    def __init__(self, first: T, more: Callable[[], T]) -> None:
        self._idle, self._more = deque([first]), more

    @contextmanager
    def one(self) -> Iterator[T]:
        """One for a call, whose results are to be copied before the block ends."""
        try:
            taken = self._idle.pop()
        except IndexError:
            taken = self._more()
        yield taken
        self._idle.append(taken)
