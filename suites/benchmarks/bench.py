"""CPU seconds and peak memory of whole commands: `tox -e bench`.

Each command runs in a fresh process, several times; the median counts.  CPU seconds are those of
the process and everything it started (POSIX `wait4`), so they hold on a busy machine too; peak
memory is the largest sum of proportional set sizes over the process tree, sampled.  Results go to
`reports/bench/convert.json`; the exit status is 1 if a budget is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import psutil
from rich.console import Console
from rich.table import Table

from posedeploy.apis.sources import resolve_checkpoint
from posedeploy.runtime.machine import cpu_facts

IMAGE = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Case:
    """One command with its budget. MMDeploy on such a machine needs 23 and 56 CPU seconds."""

    name: str
    deploy_config: str
    model: str
    cpu_seconds: float
    memory_gb: float | None


CASES = (
    Case("convert rtmpose_s", "pose-detection_simcc_onnxruntime_dynamic", "rtmpose_s", 7.0, 1.2),
    Case("convert hrnet_w32", "pose-detection_onnxruntime_static", "hrnet_w32", 13.0, None),
)


@dataclass(frozen=True)
class Measurement:
    """One run of a command."""

    cpu_seconds: float
    wall_seconds: float
    peak_memory_gb: float
    processes: int


def measure(command: list[str]) -> Measurement:
    """Run a command to its end.

    Raises:
        subprocess.CalledProcessError: It failed; a failed run measures nothing.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        watcher = Watcher(process.pid)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        watcher.join()
        if status != 0:
            log.seek(0)
            raise subprocess.CalledProcessError(status, command, log.read().decode())
    return Measurement(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=time.perf_counter() - started,
        peak_memory_gb=watcher.peak / 1e9,
        processes=len(watcher.seen),
    )


class Watcher(threading.Thread):
    """Samples the memory of a process tree until its root has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.peak = 0
        self.seen: set[int] = set()

    def run(self) -> None:
        """Sample until the root is gone."""
        while self.root.is_running() and self.root.status() != psutil.STATUS_ZOMBIE:
            self.peak = max(self.peak, self.sample())
            time.sleep(SAMPLE_SECONDS)

    def sample(self) -> int:
        """Sum of proportional set sizes, bytes; processes that end meanwhile count as 0."""
        total = 0
        try:
            tree = [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        for process in tree:
            self.seen.add(process.pid)
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total


def run_case(case: Case, runs: int, console: Console) -> dict[str, object]:
    """Measure one case; the checkpoint is made beforehand, as a user brings one."""
    checkpoint = resolve_checkpoint(case.model, None)
    measured = []
    for i in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-m", "posedeploy", "convert", case.deploy_config, case.model,
                str(checkpoint), str(IMAGE), "--work-dir", f"{folder}/sdk",
            ]  # fmt: skip
            measured.append(measure(command))
        console.print(f"{case.name}: run {i + 1}/{runs}: {measured[-1].cpu_seconds:.2f} CPU s")
    return {
        "case": asdict(case),
        "runs": [asdict(m) for m in measured],
        "cpu_seconds": statistics.median(m.cpu_seconds for m in measured),
        "peak_memory_gb": statistics.median(m.peak_memory_gb for m in measured),
        "processes": max(m.processes for m in measured),
    }


def main() -> int:
    """Measure every case, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("reports/bench/convert.json"))
    arguments = parser.parse_args()
    console = Console(highlight=False)
    results = [run_case(case, arguments.runs, console) for case in CASES]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"cpu": cpu_facts(), "python": sys.version.split()[0], "results": results}
    arguments.out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    over = show(results, console)
    console.print(f"wrote {arguments.out}")
    return 1 if over else 0


def show(results: list[dict[str, object]], console: Console) -> bool:
    """Print the table; True if a budget is exceeded."""
    table = Table("command", "CPU s", "budget", "peak GB", "budget", "processes")
    over = False
    for result in results:
        case = result["case"]
        assert isinstance(case, dict)
        cpu, memory = float(str(result["cpu_seconds"])), float(str(result["peak_memory_gb"]))
        limit = case["memory_gb"]
        over |= cpu > case["cpu_seconds"] or (limit is not None and memory > limit)
        table.add_row(
            case["name"], f"{cpu:.2f}", f"{case['cpu_seconds']:g}", f"{memory:.2f}",
            "-" if limit is None else f"{limit:g}", str(result["processes"]),
        )  # fmt: skip
    console.print(table)
    return over


if __name__ == "__main__":
    sys.exit(main())
