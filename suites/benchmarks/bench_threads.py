"""Calls a second of one OpenVINO detector, from one thread and from four: part of `tox -e bench`.

rtmpose_t, one image, one box, one thread a call.  Both take turns, so a busy machine is busy for
both, and the best turn of each counts.  Writes `reports/bench/threads.json`; the exit status is 1
if four threads make less than `RATIO` times the calls of one, on a machine of two cores or more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from posedeploy.apis.deploying import deploy
from posedeploy.runtime.machine import cpu_facts
from posedeploy.sdk import PoseDetector

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
    parser.add_argument("--out", type=Path, default=Path("reports/bench/threads.json"))
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
    found = {"calls_a_second": best, "ratio": ratio, "budget": RATIO, "options": options}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"cpu": cpu_facts(), "model": MODEL, **found}
    arguments.out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    sys.stdout.write(
        f"{MODEL} on OpenVINO, calls a second: {best[1]:.1f} from one thread, "
        f"{best[THREADS]:.1f} from {THREADS}: {ratio:.2f} times (budget {RATIO:g})\n"
    )
    return 1 if ratio < RATIO and (os.cpu_count() or 1) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
