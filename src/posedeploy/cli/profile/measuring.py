"""Times of SDK model folders by stage, and of their floors, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.sdk import PoseDetector
from posedeploy.sdk.floor import Floor
from posedeploy.sdk.images import Image
from posedeploy.sdk.pose_detector import STAGES

TURN, ROUNDS = 5, 20  # most calls in a turn; least rounds, where there are as many calls
READ, TOTAL = "read", "total"
PRE, SESSION, POST = STAGES

Times = Mapping[str, float]  # stage -> ms
Call = Callable[[], Times]  # makes one call and times it


@dataclass(frozen=True)
class Summary:
    """Median, interquartile range and 99th percentile of times in ms."""

    median: float
    iqr: float
    p99: float


@dataclass
class Run:
    """The times of one folder, or of its floor, at one batch size."""

    folder: str  # as it is named in the table
    path: Path  # of the folder, with no links in it
    batch: int  # regions in a call
    backend: str
    precision: str
    options: Mapping[str, str]  # the backend's effective ones
    is_floor: bool = False
    # stage -> ms, by round and call; 'total' is the whole call, without the reading of the file
    rounds: list[dict[str, list[float]]] = field(default_factory=list)

    def take_turn(self, call: Call, times: int) -> None:
        """A round more, of so many calls."""
        turn: dict[str, list[float]] = {}
        for _ in range(times):
            for stage, milliseconds in call().items():
                turn.setdefault(stage, []).append(milliseconds)
        self.rounds.append(turn)

    @property
    def stages(self) -> tuple[str, ...]:
        """What was timed, in order."""
        return tuple(self.rounds[0])

    def samples(self, stage: str) -> list[float]:
        """The times of every call, ms."""
        return [sample for turn in self.rounds for sample in turn[stage]]

    def medians(self, stage: str) -> list[float]:
        """The median of each round, ms."""
        return [float(np.median(turn[stage])) for turn in self.rounds]

    def summary(self, stage: str) -> Summary:
        low, median, high, p99 = np.percentile(self.samples(stage), [25, 50, 75, 99])
        return Summary(float(median), float(high - low), float(p99))

    @property
    def fps(self) -> float:
        """Regions per second, from the median of the whole call."""
        return 1e3 * self.batch / self.summary(TOTAL).median

    def to_json(self) -> dict[str, Any]:
        """Statistics and samples, times in ms."""
        return {
            "folder": self.folder, "floor": self.is_floor, "batch": self.batch,
            "backend": self.backend, "precision": self.precision, "options": dict(self.options),
            "fps": self.fps,
            "stages": {name: vars(self.summary(name)) for name in self.stages},
            "samples": {name: self.samples(name) for name in self.stages},
        }  # fmt: skip


class StopWatch:
    """Adds up the time of each stage of one call; `clock` returns the time in s."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = {}
        self._last = clock()

    def mark(self, stage: str) -> None:
        """A stage has ended."""
        now = self._clock()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def times(self) -> Times:
        """The stages and their sum, ms; the sum leaves out `READ`."""
        times = {stage: 1e3 * seconds for stage, seconds in self.seconds.items()}
        return {**times, TOTAL: sum(times.values()) - times.get(READ, 0.0)}


def timed_call(detector: PoseDetector, source: Path | Image, batch: int) -> Call:
    """A call of a detector on a number of copies of an image; a file is read in each call."""

    def call() -> Times:
        watch, image = StopWatch(), source
        if isinstance(image, Path):
            image = detector.read(image)
            watch.mark(READ)
        detector.on_stage = watch.mark
        detector.detect_batch([image] * batch)
        watch.mark(POST)
        return watch.times()

    return call


def timed_floor(floor: Floor) -> Call:
    """The two parts of a floor, as the stages that they are the least of."""

    def call() -> Times:
        watch = StopWatch()
        floor.warp()
        watch.mark(PRE)
        floor.run()
        watch.mark(SESSION)
        return watch.times()

    return call


def rows_of(
    detectors: Mapping[str, PoseDetector], source: Path | Image, batch: int, *, floors: bool
) -> list[tuple[Run, Call]]:
    """What is timed at one batch size: each folder, and after it its floor.

    A top-down model takes the whole image as the box.
    """
    rows = []
    for name, detector in detectors.items():
        model, options = detector.model, detector.effective_options
        path = model.folder.resolve()
        what = (name, path, batch, model.model.backend, model.precision, options)
        rows.append((Run(*what), timed_call(detector, source, batch)))
        if floors:
            floor = detector.floor(*[detector.read(source)] * batch)
            rows.append((Run(*what, is_floor=True), timed_floor(floor)))
    return rows


def measure(rows: Sequence[tuple[Run, Call]], *, warm_up: int, calls: int) -> None:
    """Add rounds to the runs: in each, every row has a turn of up to `TURN` calls.

    Every other round is in reverse order, so that no row is always the one that comes after
    another. `warm_up` and `calls` are per row.
    """
    for _, call in rows:
        for _ in range(warm_up):
            call()
    turn = max(1, min(TURN, calls // ROUNDS))
    for index, start in enumerate(range(0, calls, turn)):
        for run, call in rows[:: -1 if index % 2 else 1]:
            run.take_turn(call, min(turn, calls - start))
