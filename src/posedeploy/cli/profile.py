"""`posedeploy profile`: the latency of SDK model folders by stage, side by side."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from posedeploy.cli.arguments import (
    DeviceOption,
    MaxPixelsOption,
    ThreadsOption,
    check_model_folder,
    device_for,
)
from posedeploy.cli.terminal import console, one_line, print_json
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.images import MAX_PIXELS, Image, read_image
from posedeploy.sdk.pose_detector import STAGES

TURN = 10  # calls of a folder before those of the next one
TOTAL = "total"


@dataclass(frozen=True)
class Summary:
    """Median, interquartile range and 99th percentile of times in ms."""

    median: float
    iqr: float
    p99: float


@dataclass
class Run:
    """The times of one folder at one batch size."""

    folder: str
    batch: int  # regions in a call
    backend: str
    precision: str
    options: Mapping[str, str]  # the backend's effective ones
    samples: dict[str, list[float]] = field(  # stage -> ms per call; 'total' is the whole call
        default_factory=lambda: {name: [] for name in (*STAGES, TOTAL)}
    )

    def summary(self, stage: str) -> Summary:
        low, median, high, p99 = np.percentile(self.samples[stage], [25, 50, 75, 99])
        return Summary(float(median), float(high - low), float(p99))

    @property
    def fps(self) -> float:
        """Regions per second, from the median of the whole call."""
        return 1e3 * self.batch / self.summary(TOTAL).median

    def to_json(self) -> dict[str, Any]:
        """Statistics and samples, times in ms."""
        return {
            "folder": self.folder, "batch": self.batch, "backend": self.backend,
            "precision": self.precision, "options": dict(self.options), "fps": self.fps,
            "stages": {name: vars(self.summary(name)) for name in self.samples},
            "samples": self.samples,
        }  # fmt: skip


class StopWatch:
    """Adds up the time of each stage of one call; `clock` returns the time in s."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._last = clock()

    def mark(self, stage: str) -> None:
        """A stage has ended."""
        now = self._clock()
        self.seconds[stage] += now - self._last
        self._last = now


def time_calls(detector: PoseDetector, images: Sequence[Image], calls: int, run: Run) -> None:
    """Run a detector a number of times and add the times to a run."""
    for _ in range(calls):
        watch = StopWatch()
        detector.on_stage = watch.mark
        started = time.perf_counter()
        detector.detect_batch(images)
        watch.mark("post")
        ended = time.perf_counter()
        for stage, seconds in watch.seconds.items():
            run.samples[stage].append(1e3 * seconds)
        run.samples[TOTAL].append(1e3 * (ended - started))


def measure(
    detectors: Mapping[str, PoseDetector],
    image: Image,
    batches: Sequence[int],
    *,
    warm_up: int,
    calls: int,
    turn: Callable[[PoseDetector, Sequence[Image], int, Run], None] = time_calls,
) -> list[Run]:
    """Time the detectors of folders in turns of `TURN` calls.

    A top-down model takes the whole image as the box. `batches` are numbers of regions in a call,
    `warm_up` and `calls` are per folder and batch.

    Returns:
        One run per folder and batch size, in the order of the folders within each batch size.
    """
    runs = []
    for batch in batches:
        images = [image] * batch
        group = {name: _run(name, detector, batch) for name, detector in detectors.items()}
        for name, detector in detectors.items():
            turn(detector, images, warm_up, _run(name, detector, batch))
        for start in range(0, calls, TURN):
            for name, detector in detectors.items():
                turn(detector, images, min(TURN, calls - start), group[name])
        runs += list(group.values())
    return runs


def _run(name: str, detector: PoseDetector, batch: int) -> Run:
    model = detector.model
    return Run(name, batch, model.model.backend, model.precision, detector.effective_options)


def profile(  # noqa: PLR0917 - the signature is the command line
    model_dirs: Annotated[list[Path], typer.Argument(
        metavar="MODEL_DIR", help="SDK model folders.")],
    img: Annotated[Path | None, typer.Option(
        help="Image to run on; by default a drawn figure, 640x480.")] = None,
    batch: Annotated[list[int] | None, typer.Option(
        min=1, help="Regions in a call; may be repeated. [1]")] = None,
    threads: ThreadsOption = 1,
    warm_up: Annotated[int, typer.Option(min=0, help="Calls before any is counted.")] = 10,
    calls: Annotated[int, typer.Option(min=2, help="Calls that are counted.")] = 100,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with every sample.")] = False,
) -> None:  # fmt: skip
    """Measure pre-processing, session and post-processing, with the machine's fingerprint.

    Folders take turns, so that other programs slow all of them down alike. Compare only numbers of
    the same machine and the same minute.

    Examples:

    - `posedeploy profile work/rtmpose_s`
    - `posedeploy profile work/ort work/openvino work/ncnn --threads 2`
    - `posedeploy profile work/rtmpose_s --batch 1 --batch 8 --calls 300`
    - `posedeploy profile work/rtmpose_s --json > latency.json`
    """
    from posedeploy.synthetic.figures import draw_figure

    sizes = sorted(set(batch or [1]))
    image = read_image(img, max_pixels) if img else draw_figure(1, (640, 480))[0]
    if len(set(model_dirs)) < len(model_dirs):
        raise BadInputError(
            "MODEL_DIRS", "a folder that is named twice", "each once", "Name it once."
        )
    detectors = {}
    for folder in model_dirs:
        checked = check_model_folder(folder)
        chosen = device_for(checked, device)
        detectors[str(folder)] = PoseDetector(
            checked, chosen.kind, chosen.index,
            threads=threads, batch_size=max(sizes), max_pixels=max_pixels,
        )  # fmt: skip
    with console(stderr=True).status("measuring"):
        runs = measure(detectors, image, sizes, warm_up=warm_up, calls=calls)
    machine = fingerprint(threads)
    if as_json:
        print_json({"machine": machine, "runs": [run.to_json() for run in runs]})
    else:
        show(console(), runs, machine)


def fingerprint(threads: int) -> dict[str, Any]:
    """The machine, its packages, and its load."""
    from posedeploy.cli.backends import machine_facts
    from posedeploy.runtime import backend_distributions
    from posedeploy.runtime.host import installed_versions

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = installed_versions(*backend_distributions())
    facts = machine_facts()
    packages = {**facts["packages"], **versions}
    return {
        **facts,
        "packages": {name: version for name, version in sorted(packages.items()) if version},
        "threads": threads, "usable_cpus": usable, "load_average": load,
    }  # fmt: skip


def _digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def show(out: Console, runs: Sequence[Run], machine: Mapping[str, Any]) -> None:
    """Print the table, the effective options, and the fingerprint."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("folder", overflow="fold")
    for name in ("batch", "pre", "session", "post", "total", "p99", "FPS", "x"):
        table.add_column(name, justify="right")
    first: dict[int, float] = {}
    for run in runs:
        pre, session, post, total = map(run.summary, (*STAGES, TOTAL))
        best = first.setdefault(run.batch, total.median)
        table.add_row(
            one_line(run.folder), str(run.batch), _digits(pre.median),
            f"{_digits(session.median)} ±{session.iqr / 2:.2g}", _digits(post.median),
            f"{_digits(total.median)} ±{total.iqr / 2:.2g}", _digits(total.p99),
            _digits(run.fps), f"{total.median / best:.2f}",
        )  # fmt: skip
    out.print(table)
    out.print(
        "Medians in ms per call, ± half the interquartile range (of every stage with --json); p99 "
        "of the total; FPS: regions per second; x: total over the first folder's at that batch.",
        style="dim",
    )
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
