"""Time of a call of `PoseDetector`, mmdeploy-runtime, rtmlib and a floor: part of `tox -e bench`.

One image with one person and with eight, rtmpose_s: the same ONNX file for all, one thread, one
core, a process each. They take turns, and the medians of the turns' ratios count: of CPU time and
of wall time, the less favorable of the two.  (mmdeploy-runtime has no option for threads: its ONNX
Runtime starts one a core and places them itself, so that its CPU time may be longer than its wall
time.) The control is `PoseDetector` in a second process; the floor is a bare `cv2.warpAffine` of
each person, a bare session of ONNX Runtime on a tensor that is there already, and an argmax.

Writes `reports/bench/sdk.json`; the exit status is 1 if a budget is exceeded, and a client that is
not installed is left out and named.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from posedeploy.cli.profile.ratios import Ratio, paired_ratio
from suites.benchmarks.tables import Result, publish, shown
from suites.benchmarks.turns import CONTROL, FLOOR, OURS, clients, installed, not_installed, rounds

IMAGE = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
MODEL, DEPLOY_CONFIG = "rtmpose_s", "pose-detection_simcc_onnxruntime_dynamic"
SIZE = (192, 256)
BOXES = [[20.0 + i, 30.5 + 2 * i, 480.25 - 3 * i, 600.0 - i] for i in range(8)]
PEOPLE = (1, 8)  # in a call
# What may be exceeded by nothing: the host's work beside the session's own run time, with one
# person, and our call beside that of another client.
HOST_SHARE, RATIO = 0.10, 1.0
WARM_UP, TURN_SECONDS = 5, 120.0


@dataclass(frozen=True)
class Turn:
    """What some calls took, seconds each: of CPU, of wall, and of the session's run alone."""

    cpu: list[float]
    wall: list[float]
    session: list[float]


class Timed:
    """A session that adds up the CPU time of its runs."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.seconds = 0.0

    def run(self, inputs: dict[str, NDArray[Any]]) -> Any:
        """The session's answer."""
        started = time.process_time()
        try:
            return self._session.run(inputs)
        finally:
            self.seconds += time.process_time() - started


Turns = Mapping[str, list[Turn]]  # client -> its turns
Call = Callable[[int], object]  # with a number of people


def _ours(folder: str, image: NDArray[np.uint8]) -> tuple[Call, Timed | None]:
    from posedeploy.sdk import PoseDetector

    detector = PoseDetector(folder, threads=1)
    timed = Timed(detector._session)
    detector._session = timed  # type: ignore[assignment]
    return lambda people: detector(image, BOXES[:people]), timed


def _mmdeploy(folder: str, image: NDArray[np.uint8]) -> tuple[Call, Timed | None]:
    module: Any = importlib.import_module("mmdeploy_runtime")
    detector = module.PoseDetector(model_path=folder, device_name="cpu", device_id=0)
    return lambda people: detector(image, BOXES[:people]), None


def _session(folder: str) -> Any:
    """A bare session with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        f"{folder}/end2end.onnx", options, providers=["CPUExecutionProvider"]
    )


def _rtmlib(folder: str, image: NDArray[np.uint8]) -> tuple[Call, Timed | None]:
    module: Any = importlib.import_module("rtmlib")
    detector = module.RTMPose(
        f"{folder}/end2end.onnx", model_input_size=SIZE, backend="onnxruntime", device="cpu"
    )
    detector.session = _session(folder)  # it has no option for threads
    return lambda people: detector(image, BOXES[:people]), None


def _floor(folder: str, image: NDArray[np.uint8]) -> tuple[Call, Timed | None]:
    from posedeploy.sdk import PoseDetector

    detector, session = PoseDetector(folder), _session(folder)
    floors = {people: detector.floor(*[image] * people) for people in PEOPLE}

    def call(people: int) -> object:
        floors[people].warp()
        (feed,) = floors[people].feeds
        return [output.argmax(axis=-1) for output in session.run(None, dict(feed))]

    return call, None


CLIENTS = {
    OURS: _ours, CONTROL: _ours, "mmdeploy-runtime": _mmdeploy, "rtmlib": _rtmlib, FLOOR: _floor,
}  # fmt: skip
_ready: list[tuple[Call, Timed | None]] = []


def start(client: str, folder: str, core: int) -> None:
    """In the child: load the model on one core and warm up."""
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    image = cv2.imread(str(IMAGE))
    assert image is not None
    _ready.append(CLIENTS[client](folder, image))  # type: ignore[arg-type]
    for people in PEOPLE * WARM_UP:
        _ready[-1][0](people)


def take_turn(people: int, calls: int) -> Turn:
    """In the child: time so many calls."""
    call, timed = _ready[-1]
    turn = Turn([], [], [])
    for _ in range(calls):
        before = timed.seconds if timed else 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        call(people)
        turn.cpu.append(time.process_time() - cpu)
        turn.wall.append(time.perf_counter() - wall)
        turn.session.append(timed.seconds - before if timed else 0.0)
    return turn


def measure(folder: str, names: Sequence[str], turns: int, calls: int) -> dict[int, Turns]:
    """Let the clients take their turns: number of people -> client -> turns."""
    core, module = min(os.sched_getaffinity(0)), "suites.benchmarks.bench_sdk"
    with tempfile.TemporaryDirectory() as logs, clients(names, Path(logs)) as children:
        for name, child in children.items():
            child.call(f"{module}:start", name, folder, core, timeout=TURN_SECONDS)
        return {
            people: rounds(
                children, f"{module}:take_turn", people, max(2, calls // people),
                count=turns, timeout=TURN_SECONDS,
            )
            for people in PEOPLE
        }  # fmt: skip


def ratio(turns: Turns, name: str) -> Ratio:
    """Our calls' time over another's: of CPU or of wall time, whichever is less favorable."""
    ratios = [
        paired_ratio(*([statistics.median(getattr(turn, what)) for turn in turns[client]]
                       for client in (OURS, name)))
        for what in ("cpu", "wall")
    ]  # fmt: skip
    return max(ratios, key=lambda found: found.median)


def host_share(turns: list[Turn]) -> float:
    """The median call's time outside of the session over the session's, CPU time."""
    calls = [(c, s) for turn in turns for c, s in zip(turn.cpu, turn.session, strict=True)]
    return statistics.median((cpu - session) / session for cpu, session in calls)


def result(found: Mapping[int, Turns], missing: Sequence[str]) -> Result:
    """The table, and whether the budgets were kept."""
    rows, ratios = [], {}
    for people, turns in found.items():
        for name, taken in turns.items():
            times = [
                1e3 * statistics.median(t for turn in taken for t in getattr(turn, what))
                for what in ("cpu", "wall")
            ]
            ratios[people, name] = None if name == OURS else ratio(turns, name)
            rows.append((str(people), name, *(f"{t:.2f}" for t in times),
                         *shown(ratios[people, name])))  # fmt: skip
    shares = {people: host_share(turns[OURS]) for people, turns in found.items()}
    worst = max((r.median for (_, name), r in ratios.items()
                 if r and name not in {CONTROL, FLOOR}), default=0.0)  # fmt: skip
    notes = [
        "Pre- and post-processing over the session's time: "
        + ", ".join(f"{share:.1%} with {people}" for people, share in shares.items())
        + f" (budget with 1: {HOST_SHARE:.0%}). No ratio to another client may exceed {RATIO:g}.",
        *filter(None, [not_installed(missing)]),
    ]
    data = {
        "model": MODEL, "host_share": shares,
        "budgets": {"host_share": HOST_SHARE, "ratio": RATIO},
        "ratios": [{"people": p, "client": n, **asdict(r)} for (p, n), r in ratios.items() if r],
        "not_installed": missing,
    }  # fmt: skip
    head = ("people", "client", "CPU ms", "wall ms", "posedeploy ÷ it", "95 % interval")
    within = worst <= RATIO and shares[PEOPLE[0]] <= HOST_SHARE
    return Result("sdk", head, rows, notes, data, within)


def convert(folder: Path) -> Path:
    """An SDK model folder of the model."""
    from posedeploy.apis.deploying import deploy

    return deploy(DEPLOY_CONFIG, MODEL, None, folder).folder


def main() -> int:
    """Measure, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--calls", type=int, default=10, help="calls a turn, with one person")
    parser.add_argument("--folder", type=Path, help="an SDK model folder of rtmpose_s")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    names, missing = installed(list(CLIENTS))
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or convert(Path(scratch) / "sdk")
        found = measure(str(folder), names, arguments.turns, arguments.calls)
    return publish(result(found, missing), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
