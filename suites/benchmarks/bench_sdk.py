"""Time of one call of `PoseDetector`, of mmdeploy-runtime and of rtmlib: part of `tox -e bench`.

One image, one box, rtmpose_s: the same ONNX file for all three, one thread, one core, a process
each.  They take turns, so a busy machine is busy for all of them, and the ratio of the medians
counts: of CPU time and of wall time, the less favorable of the two.  (mmdeploy-runtime has no
option for threads: its ONNX Runtime starts one a core and places them itself, so that its CPU
time may be longer than its wall time.)  Writes `reports/bench/sdk.json`; the exit status is 1 if
a budget is exceeded, and a client that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from poseconform.isolation.child import SINGLE_THREAD, Child
from posedeploy.runtime.machine import cpu_facts

IMAGE = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
MODEL, DEPLOY_CONFIG = "rtmpose_s", "pose-detection_simcc_onnxruntime_dynamic"
SIZE = (192, 256)
BOX = [20.0, 30.5, 480.25, 600.0]
OURS = "posedeploy"
PACKAGES = {OURS: "posedeploy", "mmdeploy-runtime": "mmdeploy_runtime", "rtmlib": "rtmlib"}
# What may be exceeded by nothing: the host's work beside the session's own run time, and our call
# beside the faster of the other two.
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


def _ours(folder: str, image: NDArray[np.uint8]) -> tuple[Callable[[], object], Timed | None]:
    from posedeploy.sdk import PoseDetector

    detector = PoseDetector(folder, threads=1)
    timed = Timed(detector._session)
    detector._session = timed  # type: ignore[assignment]
    return lambda: detector(image, BOX), timed


def _mmdeploy(folder: str, image: NDArray[np.uint8]) -> tuple[Callable[[], object], Timed | None]:
    module: Any = importlib.import_module("mmdeploy_runtime")
    detector = module.PoseDetector(model_path=folder, device_name="cpu", device_id=0)
    return lambda: detector(image, [BOX]), None


def _rtmlib(folder: str, image: NDArray[np.uint8]) -> tuple[Callable[[], object], Timed | None]:
    import onnxruntime

    module: Any = importlib.import_module("rtmlib")
    graph = f"{folder}/end2end.onnx"
    detector = module.RTMPose(graph, model_input_size=SIZE, backend="onnxruntime", device="cpu")
    options = onnxruntime.SessionOptions()  # it has no option for threads
    options.intra_op_num_threads = 1
    detector.session = onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"]
    )
    return lambda: detector(image, [BOX]), None


CLIENTS = {OURS: _ours, "mmdeploy-runtime": _mmdeploy, "rtmlib": _rtmlib}
_ready: list[tuple[Callable[[], object], Timed | None]] = []


def start(client: str, folder: str, core: int) -> None:
    """In the child: load the model on one core and warm up."""
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    image = cv2.imread(str(IMAGE))
    assert image is not None
    _ready.append(CLIENTS[client](folder, image))  # type: ignore[arg-type]
    for _ in range(WARM_UP):
        _ready[-1][0]()


def take_turn(calls: int) -> Turn:
    """In the child: time so many calls."""
    call, timed = _ready[-1]
    turn = Turn([], [], [])
    for _ in range(calls):
        before = timed.seconds if timed else 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        turn.cpu.append(time.process_time() - cpu)
        turn.wall.append(time.perf_counter() - wall)
        turn.session.append(timed.seconds - before if timed else 0.0)
    return turn


def measure(folder: str, turns: int, calls: int) -> dict[str, Turn]:
    """Let every client that is installed take its turns."""
    found = {name: Turn([], [], []) for name, p in PACKAGES.items() if importlib.util.find_spec(p)}
    core = min(os.sched_getaffinity(0))
    # the child imports this file by its name
    env = SINGLE_THREAD | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with tempfile.TemporaryDirectory() as logs:
        children = {name: Child(Path(logs) / f"{name}.log", env) for name in found}
        try:
            for name, child in children.items():
                child.call("bench_sdk:start", name, folder, core, timeout=TURN_SECONDS)
            for _ in range(turns):
                for name, child in children.items():
                    turn = child.call("bench_sdk:take_turn", calls, timeout=TURN_SECONDS)
                    found[name].cpu.extend(turn.cpu)
                    found[name].wall.extend(turn.wall)
                    found[name].session.extend(turn.session)
        finally:
            for child in children.values():
                child.close()
    return found


def summary(turns: dict[str, Turn]) -> dict[str, Any]:
    """Medians in ms, their ratios, and the share of the host's work."""
    clients = {
        name: {
            "cpu_ms": 1e3 * statistics.median(turn.cpu),
            "wall_ms": 1e3 * statistics.median(turn.wall),
            "calls": len(turn.cpu),
        }
        for name, turn in turns.items()
    }
    ours = turns[OURS]
    share = statistics.median((c - s) / s for c, s in zip(ours.cpu, ours.session, strict=True))
    mine, others = clients[OURS], {n: row for n, row in clients.items() if n != OURS}
    return {
        "clients": clients,
        "session_ms": 1e3 * statistics.median(ours.session),
        "host_share": share,
        "ratios": {
            name: max(mine[key] / row[key] for key in ("cpu_ms", "wall_ms"))
            for name, row in others.items()
        },
        "budgets": {"host_share": HOST_SHARE, "ratio": RATIO},
        "not_installed": [name for name in PACKAGES if name not in turns],
    }


def main() -> int:
    """Measure, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--calls", type=int, default=10, help="calls a turn")
    parser.add_argument("--folder", type=Path, help="an SDK model folder of rtmpose_s")
    parser.add_argument("--out", type=Path, default=Path("reports/bench/sdk.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or convert(Path(scratch) / "sdk")
        found = summary(measure(str(folder), arguments.turns, arguments.calls))
    document = {"cpu": cpu_facts(), "python": sys.version.split()[0], "model": MODEL, **found}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    console = Console(highlight=False)
    show(found, console)
    console.print(f"wrote {arguments.out}")
    return 1 if found["host_share"] > HOST_SHARE or max_ratio(found) > RATIO else 0


def convert(folder: Path) -> Path:
    """An SDK model folder of the model."""
    from posedeploy.apis.deploying import deploy

    return deploy(DEPLOY_CONFIG, MODEL, None, folder).folder


def max_ratio(found: dict[str, Any]) -> float:
    """Our call's time over the fastest other client's; 0 where there is none."""
    return max(found["ratios"].values(), default=0.0)


def show(found: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table("client", "CPU ms a call", "wall ms a call", "posedeploy ÷ it")
    for name, row in found["clients"].items():
        ratio = found["ratios"].get(name)
        table.add_row(
            name, f"{row['cpu_ms']:.2f}", f"{row['wall_ms']:.2f}",
            "-" if ratio is None else f"{ratio:.3f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"pre- and post-processing: {found['host_share']:.1%} of the session's "
        f"{found['session_ms']:.2f} ms (budget {HOST_SHARE:.0%}); no ratio may exceed {RATIO:g}"
    )
    if found["not_installed"]:
        console.print(f"not installed: {', '.join(found['not_installed'])}", style="yellow")


if __name__ == "__main__":
    sys.exit(main())
