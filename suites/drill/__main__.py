"""`python -m suites.drill`: some thousands of attempts to break the toolchain and the judge.

Every attempt is decided by the seed, its group and its index: `--only folders --index 137` makes
one again. Exit code 1: there was a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from poseconform.pytest_plugin.options import CACHE_VARIABLE
from posedeploy.paths import cache_dir, write_text
from suites.drill.groups import GROUPS
from suites.drill.harness import ROOT, Done, Drill, Group, Outcome
from suites.drill.models import make

CACHE = cache_dir(CACHE_VARIABLE, "poseconform")
COLUMNS = ("group", "attempts", *(str(outcome) for outcome in Outcome))


def table(done: Sequence[Done]) -> str:
    """The figures as a Markdown table."""
    rows: list[Sequence[object]] = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)]]
    for group in dict.fromkeys(one.group for one in done):
        outcomes = Counter(one.result.outcome for one in done if one.group == group)
        rows.append((group, outcomes.total(), *(outcomes[outcome] for outcome in Outcome)))
    total = Counter(one.result.outcome for one in done)
    rows.append(("together", total.total(), *(total[outcome] for outcome in Outcome)))
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def findings(done: Sequence[Done], seed: int) -> str:
    """Each finding, and the command that makes it again, in Markdown."""
    lines = []
    for one in (one for one in done if one.result.outcome.is_finding):
        again = f"python -m suites.drill --seed {seed} --only {one.group} --index {one.index}"
        words = f"{one.result.kind}: {one.result.detail}".replace("\n", " ").replace("`", "'")
        text = words.encode("utf-8", "backslashreplace").decode()
        lines.append(f"- {one.result.outcome}: `{text}` ({one.seconds:.1f} s)\n  `{again}`\n")
    return "".join(lines)


def make_arena(drill: Drill, cache: Path) -> Path:
    """The models, converted by a child process unless they are in the cache."""
    with drill.child("models") as child:
        return Path(child.call(f"{make.__module__}:make", str(cache), timeout=900))


def run(
    tasks: Sequence[tuple[Group, int]], *, seed: int, workers: int, cache: Path, console: Console
) -> list[Done]:
    """Make the attempts, with a progress bar per group."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        Remaining(), TextColumn("{task.fields[found]}"),
    )  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix="drill-logs-") as logs,
        Progress(*columns, console=console) as progress,
    ):
        drill = Drill(seed, Path(), Path(logs), workers)
        drill.arena = make_arena(drill, cache)
        counts = Counter(group.name for group, _ in tasks)
        bars = {name: progress.add_task(name, total=n, found="") for name, n in counts.items()}
        found: Counter[str] = Counter()

        def on_done(one: Done) -> None:
            found[one.group] += one.result.outcome.is_finding
            words = f"{found[one.group]} findings" if found[one.group] else ""
            progress.update(bars[one.group], advance=1, found=words)

        return drill.run(tasks, on_done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print, write; 1 if there was a finding."""
    names = [group.name for group in GROUPS]
    parser = argparse.ArgumentParser(prog="python -m suites.drill", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=names, metavar="GROUP", help=str(names))
    parser.add_argument(
        "--index", type=int, action="append", help="of an attempt; with one --only"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="part of the attempts")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--cache", type=Path, default=CACHE, help="of the models")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "drill")
    options = parser.parse_args(arguments)
    groups = [group for group in GROUPS if group.name in (options.only or names)]
    tasks = [
        (group, index)
        for group in groups
        for index in options.index or range(ceil(group.full * options.scale))
    ]
    done = run(
        tasks, seed=options.seed, workers=min(options.workers, len(tasks)), cache=options.cache,
        console=Console(stderr=True),
    )  # fmt: skip
    text = f"{table(done)}\n{findings(done, options.seed)}"
    write_text(options.out / "drill.md", text)
    write_text(options.out / "drill.json", json.dumps([asdict(one) for one in done], indent=1))
    sys.stdout.write(text)
    return 1 if any(one.result.outcome.is_finding for one in done) else 0


if __name__ == "__main__":
    sys.exit(main())
