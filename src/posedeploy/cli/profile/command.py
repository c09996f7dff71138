"""`posedeploy profile`: the latency of SDK model folders by stage, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from posedeploy.cli.arguments import (
    DeviceOption,
    ThreadsOption,
)
from posedeploy.cli.inputs import MaxPixelsOption, check_model_folder, device_for
from posedeploy.cli.terminal import console, print_json
from posedeploy.errors import BadInputError
from posedeploy.sdk.images import MAX_PIXELS


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
    compare: Annotated[bool, typer.Option("--compare",
        help="Print the ratios of the total times to the first folder's, with their intervals; a "
             "folder that is named twice is the control.")] = False,
    floor: Annotated[bool, typer.Option("--floor",
        help="Time a bare warp and a bare session too, and print the ratios to them.")] = False,
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
    - `posedeploy profile work/ort work/openvino work/ort --compare`: how much, and what is noise
    - `posedeploy profile work/rtmpose_s --floor --img photo.jpg`: where the time goes
    - `posedeploy profile work/rtmpose_s --batch 1 --batch 8 --calls 300`
    - `posedeploy profile work/rtmpose_s --json > latency.json`
    """
    from posedeploy.cli.profile.comparing import comparisons
    from posedeploy.cli.profile.machine import fingerprint
    from posedeploy.cli.profile.measuring import measure, rows_of
    from posedeploy.cli.profile.table import show_comparisons, show_machine, show_times
    from posedeploy.sdk import PoseDetector
    from posedeploy.synthetic.figures import draw_figure

    sizes = sorted(set(batch or [1]))
    check_comparison(model_dirs, calls, folders=compare, floors=floor)
    detectors = {}
    for folder, name in zip(model_dirs, names_of(model_dirs), strict=True):
        checked = check_model_folder(folder)
        chosen = device_for(checked, device)
        detectors[name] = PoseDetector(
            checked, chosen.kind, chosen.index,
            threads=threads, batch_size=max(sizes), max_pixels=max_pixels,
        )  # fmt: skip
    runs = []
    with console(stderr=True).status("measuring"):
        for size in sizes:
            rows = rows_of(detectors, img or draw_figure(1, (640, 480))[0], size, floors=floor)
            measure(rows, warm_up=warm_up, calls=calls)
            runs += [run for run, _ in rows]
    machine, found = fingerprint(threads), list(comparisons(runs, folders=compare))
    if as_json:
        print_json({
            "machine": machine, "runs": [run.to_json() for run in runs],
            "comparisons": [comparison.to_json() for comparison in found],
        })  # fmt: skip
        return
    out = console()
    show_times(out, runs)
    if found:
        show_comparisons(out, found)
    show_machine(out, runs, machine)


def names_of(folders: Sequence[Path]) -> list[str]:
    """What the folders are called; one that is named again has a number."""
    names = []
    for index, folder in enumerate(folders):
        times = folders[: index + 1].count(folder)
        names.append(f"{folder} ({times})" if times > 1 else str(folder))
    return names


def check_comparison(
    model_dirs: Sequence[Path], calls: int, *, folders: bool, floors: bool
) -> None:
    """Raise BadInputError if there is nothing to compare, or nothing would come of it."""
    from posedeploy.cli.profile.ratios import MIN_ROUNDS

    if not folders and len(set(model_dirs)) < len(model_dirs):
        raise BadInputError(
            "MODEL_DIR", "a folder that is named twice", "each once",
            "Name it once, or add --compare: the second is the control.",
        )  # fmt: skip
    if folders and len(model_dirs) < 2:
        raise BadInputError(
            "--compare", f"one folder: {model_dirs[0]}", "two or more",
            "Name another folder, or this one twice: the ratio of the two is what noise makes.",
        )  # fmt: skip
    if (folders or floors) and calls < MIN_ROUNDS:
        option = "--compare" if folders else "--floor"
        raise BadInputError(
            f"--calls {calls}", "too few rounds for an interval of 95 %",
            f"{MIN_ROUNDS} or more with {option}", "Leave --calls out for 100.",
        )  # fmt: skip
