"""Timing of `PoseDetector` by stage, folders taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from posedeploy.sdk import PoseDetector
from posedeploy.sdk.pose_detector import STAGES
from posedeploy.sdk.regions import Image

TURN = 10  # calls before the next folder has its turn
TOTAL = "total"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        batches: Regions in a call.
        warm_up: Calls of each folder and batch that are not counted.
        calls: Calls of each that are.
    """

    batches: tuple[int, ...]
    warm_up: int
    calls: int


@dataclass(frozen=True)
class Summary:
    """Of some times, ms each.

    Attributes:
        median: Median.
        iqr: Distance of the quartiles.
        p99: 99th percentile.
    """

    median: float
    iqr: float
    p99: float


@dataclass
class Run:
    """The times of one folder at one batch size.

    Attributes:
        folder: The folder as it was named.
        batch: Regions in a call.
        backend: Backend name.
        precision: What the folder says it computes in.
        options: What the backend says is in force.
        samples: Stage -> ms a call; 'total' is the whole call.
    """

    folder: str
    batch: int
    backend: str
    precision: str
    options: Mapping[str, str]
    samples: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in (*STAGES, TOTAL)}
    )

    def summary(self, stage: str) -> Summary:
        """Statistics of a stage."""
        low, median, high, p99 = np.percentile(self.samples[stage], [25, 50, 75, 99])
        return Summary(float(median), float(high - low), float(p99))

    @property
    def fps(self) -> float:
        """Regions a second, from the median of the whole call."""
        return 1e3 * self.batch / self.summary(TOTAL).median

    def to_json(self) -> dict[str, Any]:
        """Statistics and samples, times in ms."""
        return {
            "folder": self.folder, "batch": self.batch, "backend": self.backend,
            "precision": self.precision, "options": dict(self.options), "fps": self.fps,
            "stages": {name: vars(self.summary(name)) for name in self.samples},
            "samples": self.samples,
        }  # fmt: skip


class StopWatch:
    """Adds up the time of each stage of a call; what follows the last mark is 'post' as well.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last = 0.0
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def start(self) -> None:
        """Begin a call."""
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._last = self._clock()

    def mark(self, stage: str) -> None:
        """A stage has ended."""
        now = self._clock()
        self.seconds[stage] += now - self._last
        self._last = now


Turn = Callable[[PoseDetector, Sequence[Image], int, Run], None]


def measure(
    detectors: Mapping[str, PoseDetector], image: Image, plan: Plan, turn: Turn | None = None
) -> list[Run]:
    """Time the folders in turns of `TURN` calls.

    Args:
        detectors: Folder as it was named -> its detector.
        image: `[H, W, 3]` uint8, BGR; the whole of it is the box of a top-down model.
        plan: What is measured.
        turn: Calls a detector and adds the times to a run; None takes `time_calls`.

    Returns:
        One run a folder and batch size, in the order of the folders within each batch size.
    """
    turn = turn or time_calls
    runs = []
    for batch in plan.batches:
        images = [image] * batch
        group = {name: _run(name, detector, batch) for name, detector in detectors.items()}
        for name, detector in detectors.items():
            turn(detector, images, plan.warm_up, _run(name, detector, batch))
        for start in range(0, plan.calls, TURN):
            for name, detector in detectors.items():
                turn(detector, images, min(TURN, plan.calls - start), group[name])
        runs += list(group.values())
    return runs


def _run(name: str, detector: PoseDetector, batch: int) -> Run:
    model = detector.model
    return Run(name, batch, model.model.backend, model.precision, detector.effective_options)


def time_calls(detector: PoseDetector, images: Sequence[Image], calls: int, run: Run) -> None:
    """Call the detector so many times and add the time of each stage to the run."""
    watch = StopWatch()
    detector.on_stage = watch.mark
    for _ in range(calls):
        watch.start()
        started = time.perf_counter()
        detector.detect_batch(images)
        watch.mark("post")
        ended = time.perf_counter()
        for stage, seconds in watch.seconds.items():
            run.samples[stage].append(1e3 * seconds)
        run.samples[TOTAL].append(1e3 * (ended - started))
