"""Progress of a run: one line a finished cell, with an estimate of the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from poseconform.report.data.vocabulary import words_of
from poseconform.report.text.strings import duration


@dataclass
class Progress:
    """Announces each cell when its last test has ended.

    Args:
        write: Writes one line.
        clock: Seconds, monotonic.
        tests: How many tests each cell has.
    """

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    tests: Mapping[str, int] = field(default_factory=dict)
    _started: float = 0.0
    _ended: int = 0
    _done: int = 0

    def start(self, tests: Mapping[str, int]) -> None:
        """The run begins."""
        self.tests = tests
        self._started = self.clock()

    def add(self, cell_id: str, outcome: str) -> None:
        """A test of a cell has ended; `outcome` is the cell's if it was the last one, else ''."""
        if cell_id not in self.tests:
            return
        self._ended += 1
        if outcome:
            self._done += 1
            self.write(self._line(cell_id, outcome))

    def _line(self, cell_id: str, outcome: str) -> str:
        total, left = len(self.tests), sum(self.tests.values()) - self._ended
        seconds = (self.clock() - self._started) / self._ended * left
        eta = f", about {duration(seconds)} left" if self._done < total else ""
        return f"[{self._done:{len(str(total))}}/{total}] {cell_id}: {words_of(outcome)}{eta}"
