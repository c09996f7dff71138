"""What `posedeploy profile` prints for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from posedeploy.cli.profile.comparing import Comparison, compare
from posedeploy.cli.profile.measuring import POST, PRE, READ, SESSION, TOTAL, Run
from posedeploy.cli.terminal import one_line


def _digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _table(first: str, others: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", min_width=len(name))
    return table


def show_times(out: Console, runs: Sequence[Run]) -> None:
    """Print the times of each run by stage."""
    read = any(READ in run.stages for run in runs)
    names = ("batch", *((READ,) if read else ()), PRE, SESSION, POST, TOTAL, "p99", "FPS", "x")
    table = _table("folder", names)
    first: dict[int, Run] = {}
    for run in runs:
        ratio = compare(run, first.setdefault(run.batch, run)).stages[TOTAL].median
        cells = {
            "batch": str(run.batch), "p99": _digits(run.summary(TOTAL).p99),
            "FPS": _digits(run.fps), "x": f"{ratio:.2f}",
        }  # fmt: skip
        for stage in run.stages:
            found = run.summary(stage)
            spread = f" ±{found.iqr / 2:.2g}" if stage in {SESSION, TOTAL} else ""
            cells[stage] = _digits(found.median) + spread
        title = "  floor" if run.is_floor else one_line(run.folder)
        table.add_row(title, *(cells.get(name, "-") for name in names))
    out.print(table)
    reading = "read: of the image file, not in the total; " if read else ""
    out.print(
        "Medians in ms per call, ± half the interquartile range (of every stage with --json); "
        f"{reading}p99 of the total; FPS: regions per second; x: total over the first folder's at "
        "that batch, the median of the rounds' ratios.",
        style="dim",
    )
    if any(run.is_floor for run in runs):
        out.print(
            "The floor: a bare cv2.warpAffine of each region, and the bare session on the same "
            "tensor.",
            style="dim",
        )


def show_comparisons(out: Console, comparisons: Sequence[Comparison]) -> None:
    """Print the ratios of total times, and what they may be off by."""
    table = _table("total", ("batch", "ratio", "95 % interval", ""))
    for comparison in comparisons:
        ratio = comparison.stages[TOTAL]
        note = ratio.verdict
        if comparison.to_floor and ratio.low > 1:
            note = f"{100 * (ratio.median - 1):.0f} % above"
        elif comparison.control:
            note = f"control: {note}"
        table.add_row(
            one_line(comparison.title), str(comparison.batch), f"{ratio.median:.3f}",
            f"{ratio.low:.3f} to {ratio.high:.3f}", note,
        )  # fmt: skip
    out.print(table)
    rounds = comparisons[0].stages[TOTAL].rounds
    out.print(
        f"Medians of the ratios of {rounds} rounds, in each of which every row has its turn, with "
        "the interval of that median. A difference is one whose interval leaves out 1.",
        style="dim",
    )


def show_machine(out: Console, runs: Sequence[Run], machine: Mapping[str, Any]) -> None:
    """Print the effective options of each folder, and the fingerprint."""
    for run in {run.folder: run for run in runs}.values():
        options = ", ".join(f"{key} {value}" for key, value in run.options.items())
        out.print(f"  [bold]{one_line(run.folder)}[/]: {run.backend}: {one_line(options)}",
                  soft_wrap=True)  # fmt: skip
    cpu, load = machine["cpu"], machine["load_average"]
    out.print(
        f"{cpu.get('model', cpu['machine'])} · {machine['usable_cpus']} CPUs usable · "
        f"threads {machine['threads']} · load {'?' if load is None else f'{load:.1f}'} · "
        f"GPU {machine['gpu']} · Python {machine['python']} · "
        + " · ".join(f"{name} {version}" for name, version in machine["packages"].items())
    )
    if load is not None and load > machine["threads"] + 0.5:
        out.print(
            f"[yellow]other programs were busy (load {load:.1f}): compare the rows with each "
            "other, and do not trust any of them alone[/]"
        )
