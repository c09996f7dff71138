"""How often does the judge object to what is right?  `python suites/defects/false_alarms.py`.

The matrix runs with other weights and other images, which change nothing about the toolchain:
every failure is an alarm that somebody would chase for nothing.  Arguments are pytest's, with
`--runs 1,2` before them for some of the runs alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from poseconform.report.data.vocabulary import failed, kind_of
from poseconform.results.records import CellRecord
from poseconform.results.results import read_results

RUNS = (1, 2, 3, 4, 5)  # each is the seed of the weights and the number of the image set
FOLDER = Path("reports") / "false-alarms"
SUITES = ("suites/conversion", "suites/parity", "suites/sdk_model")
JUDGED = frozenset({"pass", "mismatch", "failed", "crash", "timeout", "missing", "xfail", "xpass"})


def call(words: list[str]) -> int:
    """Run a command in the terminal; its exit status."""
    return subprocess.run(words, check=False).returncode


def command(number: int, folder: Path, more: Sequence[str]) -> list[str]:
    """The run of one seed and one set of images."""
    return [
        sys.executable, "-m", "pytest", *SUITES, "-q", "--weights-seed", str(number),
        "--image-set", str(number), "--report-dir", str(folder), *more,
    ]  # fmt: skip


def verdict(number: int, status: int, cells: Sequence[CellRecord]) -> tuple[str, bool]:
    """One line about a run, and whether it raised no alarm.

    Args:
        number: Of the run.
        status: pytest's exit status: tests that are no cell's can fail as well.
        cells: Its records.
    """
    judged = [cell for cell in cells if kind_of(cell.outcome) in JUDGED]
    alarms = [cell for cell in judged if failed(cell) or kind_of(cell.outcome) == "missing"]
    found = Counter(kind_of(cell.outcome) for cell in judged)
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(found.items()))
    line = f"run {number}: {len(alarms)} false alarms in {len(judged)} cells ({counts})"
    quiet = status == 0 and bool(judged) and not alarms
    return line if quiet or alarms else f"{line}; pytest ended with {status}", quiet


def main(arguments: Sequence[str], call: Callable[[list[str]], int] = call) -> int:
    """Run, and print how many alarms there were; 1 if there was any.

    Args:
        arguments: `--runs` and pytest's.
        call: Runs a command and returns its exit status.
    """
    runs: tuple[int, ...] = RUNS
    more = list(arguments)
    if more[:1] == ["--runs"]:
        runs, more = tuple(map(int, more[1].split(","))), more[2:]
    lines, quiet = [], True
    for number in runs:
        folder = FOLDER / str(number)
        (folder / "results.json").unlink(missing_ok=True)
        status = call(command(number, folder, more))
        path = folder / "results.json"
        cells = read_results(path).cells if path.is_file() else ()
        line, well = verdict(number, status, cells)
        lines.append(line)
        quiet = quiet and well
    print("\n".join(["", "=== false alarms ===", *lines]))
    return 0 if quiet else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
