"""Progress of a run: one line a finished cell, with an estimate of the time that is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from poseconform.report.data.vocabulary import words_of
from poseconform.report.text.strings import duration
from poseconform.results.outcome import CellRecord, merge_partials


def count_tests(cell_ids: Iterable[str]) -> Counter[str]:
    """How many tests each cell has."""
    return Counter(cell_id for cell_id in cell_ids if cell_id)


@dataclass
class Progress:
    """Collects partial records and announces each cell when its last test is done.

    Args:
        write: Writes one line.
        clock: Seconds, monotonic.
    """

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    expected: Mapping[str, int] = field(default_factory=dict)
    partials: dict[str, list[CellRecord]] = field(default_factory=dict)
    _seen: Counter[str] = field(default_factory=Counter)
    _started: float = 0.0
    _done: int = 0

    def start(self, expected: Mapping[str, int]) -> None:
        """The run begins: how many tests each cell has."""
        self.expected = expected
        self._started = self.clock()

    def add(self, cell_id: str, partial: CellRecord | None) -> None:
        """A test of a cell has ended."""
        if partial is not None:
            self.partials.setdefault(cell_id, []).append(partial)
        self._seen[cell_id] += 1
        if self._seen[cell_id] == self.expected.get(cell_id):
            self._done += 1
            self.write(self._line(cell_id))

    def _line(self, cell_id: str) -> str:
        total = len(self.expected)
        parts = self.partials.get(cell_id)
        outcome = words_of(merge_partials(parts).outcome) if parts else "nothing to judge"
        done, tests = sum(self._seen.values()), sum(self.expected.values())
        left = (self.clock() - self._started) / done * (tests - done)
        eta = f", about {duration(left)} left" if self._done < total else ""
        width = len(str(total))
        return f"[{self._done:{width}}/{total}] {cell_id}: {outcome}{eta}"
