"""Calls a second of one OpenVINO detector, from one thread and from four: part of `tox -e bench`.

rtmpose_t, one image, one box, one thread a call.  Both take turns, so a busy machine is busy for
both, and the best turn of each counts.  Writes `reports/bench/threads.json`; the exit status is 1
if four threads make less than `RATIO` times the calls of one, on a machine of two cores or more.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from posedeploy.apis.deploying import deploy
from posedeploy.sdk import PoseDetector
from suites.benchmarks.tables import Result, publish

MODEL, DEPLOY_CONFIG = "rtmpose_t", "pose-detection_simcc_openvino_static"
THREADS, RATIO = 4, 1.5


def turn(detector: PoseDetector, threads: ThreadPoolExecutor, workers: int, calls: int) -> float:
    """Calls a second of `workers` threads, which make `calls` calls in all."""
    image = np.random.default_rng(0).integers(0, 256, (480, 360, 3), np.uint8)

    def work(_worker: int) -> None:
        for _ in range(calls // workers):
            detector(image)

    started = time.perf_counter()
    list(threads.map(work, range(workers)))
    return calls / (time.perf_counter() - started)


def main() -> int:
    """Measure, write the file, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--calls", type=int, default=40, help="calls a turn")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    best = {1: 0.0, THREADS: 0.0}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(THREADS) as threads:
        folder = deploy(DEPLOY_CONFIG, MODEL, "calibrated", Path(scratch) / "sdk").folder
        with PoseDetector(folder) as detector:
            turn(detector, threads, THREADS, arguments.calls)  # warm up
            for _ in range(arguments.turns):
                for workers in (1, THREADS):
                    rate = turn(detector, threads, workers, arguments.calls)
                    best[workers] = max(best[workers], rate)
            options = dict(detector.effective_options)
    ratio = best[THREADS] / best[1]
    rows = [(str(n), f"{rate:.1f}", f"{rate / best[1]:.2f}") for n, rate in best.items()]
    notes = [f"{MODEL} on OpenVINO, one detector. {THREADS} threads make at least {RATIO:g} times "
             "the calls of one, on two cores or more."]  # fmt: skip
    data = {"model": MODEL, "calls_a_second": best, "ratio": ratio, "budget": RATIO,
            "options": options}  # fmt: skip
    within = ratio >= RATIO or (os.cpu_count() or 1) == 1
    head = ("threads", "calls/s", "÷ one thread")
    return publish(Result("threads", head, rows, notes, data, within), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
