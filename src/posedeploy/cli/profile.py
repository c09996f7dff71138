"""`posedeploy profile`: the latency of SDK model folders by stage, side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from posedeploy.cli.model_folder import check_model_folder, device_for
from posedeploy.cli.profiling import TOTAL, Plan, Run, Summary, measure
from posedeploy.cli.terminal import console, escape, print_json
from posedeploy.errors import BadInputError
from posedeploy.sdk.pose_detector import STAGES

EXAMPLES = """
Examples:

    posedeploy profile work/rtmpose_s

    posedeploy profile work/ort work/openvino work/ncnn --threads 2

    posedeploy profile work/rtmpose_s --batch 1 --batch 8 --calls 300

    posedeploy profile work/rtmpose_s --json > latency.json
"""


def profile(  # noqa: PLR0917 - the signature is the command line
    model_dirs: Annotated[
        list[Path], typer.Argument(metavar="MODEL_DIR", help="SDK model folders.")
    ],
    img: Annotated[
        Path | None, typer.Option(help="Image to run on; by default a drawn figure, 640x480.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Regions in a call; may be repeated. [1]")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: the backend's choice.")] = 1,
    warm_up: Annotated[int, typer.Option(min=0, help="Calls before any is counted.")] = 10,
    calls: Annotated[int, typer.Option(min=2, help="Calls that are counted.")] = 100,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1; by default each backend's first.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with every sample.")] = False,
) -> None:
    """Measure pre-processing, session and post-processing, with the machine's fingerprint.

    Folders take turns, so that a busy machine is busy for all of them. A number means something
    only beside another one of the same machine and the same minute.
    """
    from posedeploy.sdk import PoseDetector
    from posedeploy.sdk.images import read_image

    sizes = sorted(set(batch or [1]))
    plan = Plan(batches=tuple(sizes), warm_up=warm_up, calls=calls)
    image = read_image(img) if img else _figure()
    if len(set(model_dirs)) < len(model_dirs):
        raise BadInputError(
            "MODEL_DIRS", "a folder that is named twice", "each once", "Name it once."
        )
    detectors = {
        str(folder): PoseDetector(
            checked, *device_for(checked, device), threads=threads, batch_size=max(sizes)
        )
        for folder, checked in zip(model_dirs, map(check_model_folder, model_dirs), strict=True)
    }
    with console(stderr=True).status("measuring"):
        runs = measure(detectors, image, plan)
    machine = fingerprint(threads, load_average())
    if as_json:
        print_json({"machine": machine, "runs": [run.to_json() for run in runs]})
    else:
        show(runs, machine)


profile.__doc__ = f"{profile.__doc__}\n{EXAMPLES}"


def _figure() -> Any:
    from posedeploy.synthetic.figures import draw_figure

    return draw_figure(1, (640, 480))[0]


def load_average() -> float | None:
    """Processes that ran or waited in the last minute; None where the system counts none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def fingerprint(threads: int, load: float | None) -> dict[str, Any]:
    """The machine, its packages, and how busy it was."""
    from posedeploy.cli.backends import machine_facts
    from posedeploy.runtime import BACKENDS
    from posedeploy.runtime.probing import distribution_version

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {row.distribution: distribution_version(row.distribution) for row in BACKENDS}
    facts = machine_facts()
    packages = {**facts["packages"], **versions}
    return {
        **facts,
        "packages": {name: version for name, version in sorted(packages.items()) if version},
        "threads": threads, "usable_cpus": usable, "load_average": load,
    }  # fmt: skip


def _digits(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _spread(summary: Summary) -> str:
    return f"{_digits(summary.median)} ±{summary.iqr / 2:.2g}"


def show(runs: Sequence[Run], machine: Mapping[str, Any]) -> None:
    """Print the table, the options in force, and the fingerprint."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    out, table = console(), Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("folder", overflow="fold")
    for name in ("batch", "pre", "session", "post", "total", "p99", "FPS", "x"):
        table.add_column(name, justify="right")
    first: dict[int, float] = {}
    for run in runs:
        pre, session, post, total = map(run.summary, (*STAGES, TOTAL))
        best = first.setdefault(run.batch, total.median)
        table.add_row(
            escape(run.folder), str(run.batch), _digits(pre.median), _spread(session),
            _digits(post.median), _spread(total), _digits(total.p99), _digits(run.fps),
            f"{total.median / best:.2f}",
        )  # fmt: skip
    out.print(table)
    out.print(
        "Medians in ms a call, ± half the interquartile range (of every stage with --json); p99 "
        "of the total; FPS: regions a second; x: total beside the first folder's at that batch.",
        style="dim",
    )
    for run in {run.folder: run for run in runs}.values():
        options = ", ".join(f"{key} {value}" for key, value in run.options.items())
        out.print(f"  [bold]{escape(run.folder)}[/]: {run.backend}: {escape(options)}",
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
            "other, and believe none of them alone[/]"
        )
