"""`posedeploy infer`: an SDK model folder and images or videos in, keypoints out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from posedeploy.cli.model_folder import check_model_folder, device_for
from posedeploy.cli.terminal import items_progress
from posedeploy.errors import BadInputError

EXAMPLES = """
Examples:

    posedeploy infer work/rtmpose_s photo.jpg

    posedeploy infer work/rtmpose_s photo.jpg --bbox 20,30,480,600 --out drawn

    posedeploy infer work/rtmo_s walk.mp4 holidays/ 'more/**/*.png' --out drawn

    posedeploy infer work/rtmpose_s photo.jpg --json > keypoints.jsonl
"""
DEFAULT_OUT = Path("poses")


def infer(  # noqa: PLR0917 - the signature is the command line
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="SDK model folder.")],
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Images, videos, folders with them, patterns."),
    ],
    bbox: Annotated[
        list[str] | None,
        typer.Option(
            metavar="L,T,R,B",
            help="Box of a person in image px; may be repeated. Without one, a top-down model "
            "takes the whole image as one box.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for what is drawn. [default: poses; none with --json, --show]"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines: the model, then one a image.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Open windows; q or Esc stops.")] = False,
    min_score: Annotated[
        float, typer.Option(help="Keypoints with a lower score are not drawn.")
    ] = 0.3,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1; by default the backend's first.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: the backend's choice.")] = 1,
) -> None:
    """Find keypoints in images and videos with an SDK model folder, and draw them.

    Needs neither torch nor mmpose. Exit code 1: something could not be read to its end.
    """
    from posedeploy.cli.inference import Inference
    from posedeploy.cli.inference_report import JsonLines, TextLines
    from posedeploy.cli.media import drawn_names, find_sources, output_folder
    from posedeploy.sdk import PoseDetector
    from posedeploy.sdk.windows import check_windows

    boxes = [parse_box(text) for text in bbox or []]
    folder_of_model, found = check_model_folder(model_dir), find_sources(sources)
    if show:
        check_windows("Leave --show out, and open the images that --out writes.")
    chosen = device_for(folder_of_model, device)
    target = out or (None if as_json or show else DEFAULT_OUT)
    with PoseDetector(
        folder_of_model, chosen.kind, chosen.index, threads=threads
    ) as detector:
        if boxes and not detector.top_down:
            raise BadInputError(
                "--bbox", f"boxes, and {model_dir}, which finds the people itself",
                "boxes for a top-down model only", "Leave --bbox out.",
            )  # fmt: skip
        folder = output_folder(target) if target else None
        progress = items_progress(as_json=as_json)
        inference = Inference(detector, boxes or None, folder, show, min_score)
        lines = JsonLines() if as_json else TextLines(progress.console, inference)
        lines.start(detector)
        with progress:
            names = drawn_names(found)
            whole = [
                inference.run(source, name, lines, progress)
                for source, name in zip(found, names, strict=True)
            ]
    if not all(whole):
        raise typer.Exit(1)


infer.__doc__ = f"{infer.__doc__}\n{EXAMPLES}"


def parse_box(text: str) -> list[float]:
    """`[left, top, right, bottom]` in image px.

    Raises:
        BadInputError: Not four numbers, or a box without an area.
    """
    expected = "left,top,right,bottom in image px, right beyond left and bottom beyond top"
    next_step = "Write it as --bbox 20,30,480,600, with commas and no spaces."
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInputError("--bbox", text, expected, next_step) from error
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise BadInputError("--bbox", text, expected, next_step)
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        corner = f"{left:g},{top:g},{left + right:g},{top + bottom:g}"
        raise BadInputError(
            "--bbox", text, expected, f"If it was x,y,width,height, write {corner}."
        )
    return box
