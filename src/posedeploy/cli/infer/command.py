"""`posedeploy infer`: an SDK model folder and images, videos or a camera in, keypoints out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from posedeploy.cli.arguments import (
    DeviceOption,
    ThreadsOption,
    output_folder,
)
from posedeploy.cli.infer import options as option
from posedeploy.cli.infer.boxes import parse_box
from posedeploy.cli.infer.inference import Inference
from posedeploy.cli.infer.options import Options, parse_classes, people_finder
from posedeploy.cli.infer.reporters import JsonLines, Reporter, TextLines, coco_results
from posedeploy.cli.infer.sources import STDIN, Source, drawn_names, find_sources
from posedeploy.cli.infer.videos import quiet_opencv
from posedeploy.cli.inputs import MaxPixelsOption, check_model_folder, device_for
from posedeploy.cli.terminal import console, items_progress, one_line
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.images import MAX_PIXELS
from posedeploy.sdk.windows import check_windows, show_image

_NAMED = 5  # files that a line names; the others are counted


def infer(  # noqa: PLR0917 - the signature is the command line
    model_dir: Annotated[Path, typer.Argument(
        metavar="MODEL_DIR", help="SDK model folder, or a zip of it.")],
    sources: option.SourcesArgument,
    bbox: option.BboxOption = None,
    boxes: option.BoxesOption = None,
    detector: option.DetectorOption = None,
    det_score: option.DetScoreOption = None,
    det_nms: option.DetNmsOption = None,
    det_classes: option.DetClassesOption = None,
    track: option.TrackOption = False,
    det_every: option.DetEveryOption = 1,
    smooth: option.SmoothOption = False,
    out: option.OutOption = None,
    as_json: option.JsonLinesOption = False,
    coco: option.CocoOption = None,
    show: option.ShowOption = False,
    keypoint_order: option.OrderOption = None,
    min_score: option.MinScoreOption = 0.3,
    live: option.LiveOption = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    device: DeviceOption = None,
    threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Find keypoints in images and videos with an SDK model folder, and draw them.

    Needs neither torch nor mmpose. Of several files, those that cannot be read are left out, and
    the exit code is 1. Ctrl-C ends the drawing of a video where it is.

    Examples:

    - `posedeploy infer work/rtmpose_s photo.jpg --bbox 20,30,480,600 --out drawn`
    - `posedeploy infer work/rtmpose_s street.mp4 --detector work/yoloxpose_tiny --track`
    - `posedeploy infer work/rtmo_s walk.mp4 holidays/ 'more/**/*.png' --out drawn`
    - `posedeploy infer work/rtmo_s rtsp://192.168.1.20/stream --live --track`
    - `posedeploy infer work/rtmpose_s photo.jpg --json > keypoints.jsonl`
    """
    options = Options(
        [parse_box(text) for text in bbox or []], boxes, detector, det_score, det_nms,
        parse_classes(det_classes), track, det_every, smooth, live, keypoint_order, min_score,
        max_pixels, device, threads,
    )  # fmt: skip
    folder = check_model_folder(model_dir)
    found = find_sources(sources, sys.stdin.buffer if STDIN in sources and sys.stdin else None)
    options.check(found.sources)
    if show:
        check_windows("Leave --show out, and open the images that --out writes.")
    if found.left_out:
        console(stderr=True).print(_left_out(found.left_out), style="yellow", soft_wrap=True)
    quiet_opencv()
    target = out or (None if as_json or show or coco else Path("poses"))
    chosen = device_for(folder, device)
    with PoseDetector(
        folder, chosen.kind, chosen.index, threads=threads, max_pixels=max_pixels
    ) as pose:
        options.check_model(pose, model_dir)
        if not _run(options, pose, found.sources, target, coco, as_json=as_json, show=show):
            raise typer.Exit(1)


def _run(
    options: Options,
    pose: PoseDetector,
    sources: Sequence[Source],
    out: Path | None,
    coco: Path | None,
    *,
    as_json: bool,
    show: bool,
) -> bool:
    """Run the model on all sources; whether all could be read to their ends."""
    progress, order = items_progress(as_json=as_json), options.order(pose)
    meta = pose.dataset_meta if order is None else order.meta
    with ExitStack() as stack:
        finder = people_finder(options, pose, sources, stack, order)
        folder = output_folder(out) if out else None
        lines = JsonLines() if as_json else TextLines(
            progress.console, options.min_score, pose.top_down and not options.gives_boxes
        )  # fmt: skip
        reporters: list[Reporter] = [lines]
        if coco:
            reporters.append(stack.enter_context(coco_results(coco, sources, pose.top_down)))
        inference = Inference(
            pose.read, finder, meta, reporters, folder, show_image if show else None,
            options.min_score, options.live, options.max_pixels,
        )  # fmt: skip
        lines.start(pose, meta)
        stack.enter_context(progress)
        complete = [
            inference.run(source, name, progress)
            for source, name in zip(sources, drawn_names(sources), strict=True)
        ]
        if len(complete) > 1 and not all(complete):
            count = f"{complete.count(False)} of {len(complete)}"
            progress.console.print(f"[bold red]{count} could not be read to the end[/]")
    return all(complete)


def _left_out(paths: Sequence[Path]) -> str:
    """A line on the files of a folder or a pattern that are not looked at."""
    names = ", ".join(f"{path.name}{'/' if path.is_dir() else ''}" for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    folders = " (FOLDER/** in quotes takes folders too)" if any(p.is_dir() for p in paths) else ""
    return one_line(f"left out, for they are no images or videos: {names}{more}{folders}")
