"""CPU seconds and peak memory of whole commands: `tox -e bench`.

Conversions with their verdict, the fixed costs of the command line and of pytest, and the judge's
cells. Each command runs in a fresh process, several times; the median counts.  CPU seconds are
those of the process and everything it started (POSIX `wait4`), so they hold on a busy machine
too; peak memory is the largest sum of proportional set sizes over the process tree, sampled.
Results go to `reports/bench/commands.json`; the exit status is 1 if a budget is exceeded.

`--beside` measures another converter in turns with ours, as MMDeploy's in an environment of its
own: `--beside '/PATH/python tools/deploy.py {deploy_config} {model_config} {checkpoint} {image}
--work-dir {folder}'`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import matplotlib
import psutil
from rich.console import Console

from poseconform.report.data.vocabulary import ran
from poseconform.results.results import read_results
from posedeploy.apis.sources import resolve_checkpoint, resolve_model_config
from posedeploy.cli.profile.ratios import Ratio, paired_ratio
from posedeploy.config import find_deploy_config
from posedeploy.paths import CACHE_VARIABLE
from suites.benchmarks.tables import Result, publish, shown

IMAGE = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Case:
    """One command with its budgets. MMDeploy on such a machine needs 23 and 56 CPU seconds.

    Words are formatted with `checkpoint`, `image` and `folder`.
    """

    name: str
    words: Sequence[str]  # after `python -m`
    cpu_seconds: float | None = None
    memory_gb: float | None = None
    model: str = ""  # its checkpoint is made beforehand, as a user brings one
    deploy_config: str = ""
    # A run of the judge: once in each of these states of a cache of its own -> its CPU budget, s,
    # which is for one cell if `by_cell`.
    states: Mapping[str, float] = field(default_factory=dict)
    by_cell: bool = False


def convert(
    model: str,
    deploy_config: str,
    cpu_seconds: float | None = None,
    memory_gb: float | None = None,
) -> Case:
    """A conversion with its verdict."""
    words = ("posedeploy", "convert", deploy_config, model, "{checkpoint}", "{image}",
             "--work-dir", "{folder}/sdk")  # fmt: skip
    return Case(f"convert {model}", words, cpu_seconds, memory_gb, model, deploy_config)


_JUDGE = ("pytest", "suites/conversion", "suites/parity", "suites/sdk_model", "-q")
_REPORT = ("--report-dir", "{folder}/report")
_DETECTIONS = "pose-detection_{}_onnxruntime_dynamic"

# ---- modify this table to add a command ----------------------------------------------------
# fmt: off
CASES = (
    convert("hourglass52",       "pose-detection_onnxruntime_static"),
    convert("hrnet_w32",         "pose-detection_onnxruntime_static", 13.0),
    convert("litehrnet_18",      "pose-detection_onnxruntime_static"),
    convert("mspn50",            "pose-detection_onnxruntime_static"),
    convert("rtmo_s",            _DETECTIONS.format("rtmo")),
    convert("rtmpose_s",         "pose-detection_simcc_onnxruntime_dynamic", 7.0, 1.2),
    convert("simcc_mobilenetv2", "pose-detection_simcc_onnxruntime_dynamic"),
    convert("yoloxpose_s",       _DETECTIONS.format("yolox-pose")),
    Case("posedeploy --help",    ("posedeploy", "--help"), 0.25),
    Case("posedeploy backends",  ("posedeploy", "backends"), 0.25),
    Case("start of pytest",      (*_JUDGE, "--collect-only", "--models", "rtmpose_t"), 3.0),
    Case("fp32 cell",            (*_JUDGE, *_REPORT, "--models", "quick", "-m", "fp32"),
         states={"cold": 6.5, "warm": 2.0}, by_cell=True),
    Case("planted defects",      ("pytest", "suites/defects", "-q", *_REPORT),
         states={"cold": 200.0}),
)
# fmt: on
# --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    """One run of a command."""

    cpu_seconds: float
    wall_seconds: float
    peak_memory_gb: float
    processes: int


@dataclass(frozen=True)
class Measured:
    """A row: the runs of a command, or of another one beside it in turns."""

    name: str
    runs: Sequence[Measurement]
    cpu_budget: float | None
    memory_budget: float | None = None
    cells: int = 1
    beside: Sequence[Measurement] = ()

    @property
    def cpu_seconds(self) -> float:
        """The median, of one cell."""
        return statistics.median(run.cpu_seconds for run in self.runs) / self.cells

    @property
    def peak_memory_gb(self) -> float:
        """The median."""
        return statistics.median(run.peak_memory_gb for run in self.runs)

    @property
    def ratio(self) -> Ratio | None:
        """CPU seconds over those of the other command."""
        if not self.beside:
            return None
        return paired_ratio(*([m.cpu_seconds for m in each] for each in (self.runs, self.beside)))

    @property
    def over(self) -> bool:
        """True if a budget is exceeded."""
        pairs = (self.cpu_seconds, self.cpu_budget), (self.peak_memory_gb, self.memory_budget)
        return any(limit is not None and value > limit for value, limit in pairs)


def measure(command: Sequence[str], env: Mapping[str, str] | None = None) -> Measurement:
    """Run a command to its end, with variables on top of this process's.

    Raises:
        subprocess.CalledProcessError: It failed; a failed run measures nothing.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        watcher = Watcher(process.pid)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        watcher.join()
        if status != 0:
            log.seek(0)
            code = os.waitstatus_to_exitcode(status)
            raise subprocess.CalledProcessError(code, command, log.read().decode())
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


def run_case(case: Case, runs: int, beside: str, console: Console) -> list[Measured]:
    """Measure one case; the other command runs beside conversions alone."""
    if case.states:
        return run_judge(case, console)
    fields: dict[str, object] = {"image": IMAGE}
    if case.model:
        fields |= {
            "checkpoint": resolve_checkpoint(case.model, None),
            "deploy_config": find_deploy_config(case.deploy_config),
            "model_config": resolve_model_config(case.model),
        }
    measured: dict[str, list[Measurement]] = {"ours": [], "beside": []}
    commands = {"ours": (sys.executable, "-m", *case.words)}
    if case.model and beside:
        commands["beside"] = tuple(shlex.split(beside))
    for i in range(runs):
        for name, words in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                found = measure([word.format(**fields, folder=folder) for word in words])
            measured[name].append(found)
            console.print(f"{case.name}: {name} {i + 1}/{runs}: {found.cpu_seconds:.2f} CPU s")
    return [Measured(case.name, measured["ours"], case.cpu_seconds, case.memory_gb,
                     beside=measured["beside"])]  # fmt: skip


def run_judge(case: Case, console: Console) -> list[Measured]:
    """Measure a run of the judge in each state of its cache."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        env = {"XDG_CACHE_HOME": f"{folder}/cache", CACHE_VARIABLE: f"{folder}/cache/posedeploy"}
        command = [sys.executable, "-m", *(word.format(folder=folder) for word in case.words)]
        for state, budget in case.states.items():
            found, cells, name = measure(command, env), 1, f"{case.name}, {state}"
            if case.by_cell:
                results = read_results(Path(folder, "report", "results.json"))
                cells = sum(map(ran, results.cells))
                name = f"{name} (of {cells})"
            rows.append(Measured(name, [found], budget, cells=cells))
            console.print(f"{name}: {found.cpu_seconds:.2f} CPU s")
    return rows


def result(rows: Sequence[Measured], beside: str) -> Result:
    """The table, and whether the budgets were kept."""
    head = ["command", "CPU s", "budget", "peak GB", "budget", "processes"]
    table = []
    for row in rows:
        limits = ("-" if b is None else f"{b:g}" for b in (row.cpu_budget, row.memory_budget))
        cpu_limit, memory_limit = limits
        cells = [
            row.name, f"{row.cpu_seconds:.2f}", cpu_limit, f"{row.peak_memory_gb:.2f}",
            memory_limit, str(max(run.processes for run in row.runs)),
        ]  # fmt: skip
        table.append([*cells, *(shown(row.ratio) if beside else ())])
    if beside:
        head += ["÷ other", "95 % interval"]
    notes = ["CPU seconds and memory of the process tree."]
    notes += [f"The other command: {beside}"] if beside else []
    return Result("commands", head, table, notes, {"results": [asdict(row) for row in rows]},
                  not any(row.over for row in rows))  # fmt: skip


def main() -> int:
    """Measure the cases, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument(
        "--beside", default="", metavar="COMMAND",
        help="another converter, which takes turns with each conversion; {deploy_config}, "
             "{model_config}, {checkpoint}, {image} and {folder} are put in",
    )  # fmt: skip
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    console = Console(highlight=False)
    chosen = [case for case in CASES if arguments.only in case.name]
    rows = [row for case in chosen
            for row in run_case(case, arguments.runs, arguments.beside, console)]  # fmt: skip
    return publish(result(rows, arguments.beside), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
