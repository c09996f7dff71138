"""`posedeploy convert`: MMPose model + deploy config -> SDK model folder, and a comparison."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from posedeploy.cli.arguments import (
    check_name,
    check_word,
    complete_checkpoint,
    complete_deploy_config,
    complete_model_config,
    parse_device,
)
from posedeploy.cli.collection import without_collection
from posedeploy.cli.filekinds import check_images
from posedeploy.cli.infer.videos import quiet_opencv
from posedeploy.cli.inputs import MaxPixelsOption
from posedeploy.cli.pasted import (
    CalibDatasetCfgOption,
    DumpInfoOption,
    IpOption,
    Pasted,
    PortOption,
    QuantImageDirOption,
    QuantOption,
    UriOption,
)
from posedeploy.cli.stopping import stopping
from posedeploy.cli.terminal import console, one_line
from posedeploy.errors import BadInputError, NothingProvenError, UnavailableError
from posedeploy.sdk.images import MAX_PIXELS, read_image
from posedeploy.sdk.windows import check_windows, show_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rich.status import Status

    from posedeploy.apis.comparing import Compared, FindKeypoints
    from posedeploy.apis.deploying import Deployment
    from posedeploy.apis.gain import Gain
    from posedeploy.apis.progress import StageEvent
    from posedeploy.apis.proving import Response
    from posedeploy.apis.verdict import Outcome

LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "FATAL", "WARN", "NOTSET")
JPEG_SIDE = 65500  # px, libjpeg's limit
LABELS = {
    "checkpoint": "checkpoint", "model": "PyTorch model", "export": "export",
    "convert": "conversion", "compare": "comparison with PyTorch",
}  # fmt: skip


def convert(  # noqa: PLR0917 - the signature is the command line
    deploy_cfg: Annotated[str, typer.Argument(
        metavar="DEPLOY_CFG", help="Deploy config: a path, or a name of `configs list`.",
        autocompletion=complete_deploy_config)],
    model_cfg: Annotated[str, typer.Argument(
        metavar="MODEL_CFG", help="MMPose model config: a path, or a name of `zoo list`.",
        autocompletion=complete_model_config)],
    checkpoint: Annotated[str, typer.Argument(
        metavar="CHECKPOINT", autocompletion=complete_checkpoint,
        help="A .pth file; 'zoo' for the published one, downloaded; 'calibrated', 'trained' or "
        "'fitted' for weights that are made, to try things out.")],
    img: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image to compare on.")],
    work_dir: Annotated[Path, typer.Option(
        help="Where the SDK model folder goes.")] = Path("work_dir"),
    test_img: Annotated[list[Path] | None, typer.Option(
        help="Compare on this image instead of IMAGE.")] = None,
    device: Annotated[str | None, typer.Option(
        help="Device to run on; by default the backend's first.")] = None,
    exporter: Annotated[str | None, typer.Option(
        help="torchscript or dynamo; the deploy config's if not given.")] = None,
    calib_images: Annotated[Path | None, typer.Option(
        help="Folder of images that int8 is calibrated on; drawn figures if not given.")] = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    show: Annotated[bool, typer.Option("--show", help="Open a window with the result.")] = False,
    log_level: Annotated[str, typer.Option(help=f"One of {', '.join(LOG_LEVELS)}.")] = "WARNING",
    dump_info: DumpInfoOption = False,
    quant: QuantOption = False,
    quant_image_dir: QuantImageDirOption = None,
    calib_dataset_cfg: CalibDatasetCfgOption = None,
    uri: UriOption = None,
    ip: IpOption = None,
    port: PortOption = None,
) -> None:  # fmt: skip
    """Convert a model, and compare its keypoints with PyTorch's.

    Examples:

    - `posedeploy convert pose-detection_simcc_onnxruntime_dynamic rtmpose_s calibrated photo.jpg
      --work-dir work/rtmpose_s`
    - `posedeploy convert deploy.py model.py model.pth photo.jpg --work-dir work/mine`
    """
    check_word("--log-level", log_level.upper(), LOG_LEVELS)
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    out = console()
    if show:
        check_windows(f"Leave --show out, and look at the images in {work_dir}.")
    check_name(f"work dir {work_dir}", work_dir)
    pasted = Pasted(dump_info, quant, quant_image_dir, calib_dataset_cfg, uri, ip, port)
    calib_images = pasted.taken(deploy_cfg, calib_images, out)
    quiet_opencv()
    check_images([img, *(test_img or [])])
    images = list(dict.fromkeys(test_img or [img]))
    for path in images:
        check_drawable(path, read_image(path, max_pixels))
    if img not in images:  # it is not compared on, and refused all the same if it is none
        read_image(img, max_pixels)
    shown = run(
        deploy_cfg, model_cfg, checkpoint, images,
        work_dir=work_dir, device=device, exporter=exporter, calib_images=calib_images,
        max_pixels=max_pixels, out=out,
    )  # fmt: skip
    if show:
        show_files(sorted(work_dir.glob("output_*.jpg")))
    if shown != "same":
        raise typer.Exit(1)


def check_drawable(path: Path, image: NDArray[np.uint8]) -> None:
    """Raise a BadInputError for an image whose drawing JPEG cannot hold: it would be too late."""
    height, width = image.shape[:2]
    if max(width, height) > JPEG_SIDE:
        raise BadInputError(
            f"image {path}", f"{width}x{height} px", f"sides of up to {JPEG_SIDE} px: what is "
            "found is drawn to JPEG files", "Make it smaller.",
        )  # fmt: skip


@without_collection()
def run(
    deploy_cfg: str,
    model_cfg: str,
    checkpoint: str,
    images: Sequence[Path],
    *,
    work_dir: Path,
    device: str | None,
    exporter: str | None,
    calib_images: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    find: FindKeypoints | None = None,
    out: Console,
) -> Outcome:
    """Convert, compare, write; what the comparison has shown.

    Raises:
        UnavailableError: The backend converts here and runs elsewhere: the folder is written, and
            its keypoints are not compared.
        NothingProvenError: The folder is written, and there was nothing to compare.
    """
    from posedeploy.apis import deploy
    from posedeploy.apis.sources import note_on

    if device is not None:
        parse_device(device)
    done = deploy(
        deploy_cfg, model_cfg, checkpoint, work_dir,
        exporter=exporter, calib_images=calib_images, max_pixels=max_pixels, device=device,
        images=images, find=find, progress=Stages(out),
    )  # fmt: skip
    report_response(out, done)
    for result in done.compared:
        report(out, done.backend, result)
    report_layers(out, done)
    report_ranges(out, done)
    report_gain(out, done)
    show_folder(out, work_dir)
    if note := note_on(checkpoint):
        out.print(f"{note}", style="dim", soft_wrap=True)
    if done.not_compared is not None:
        again = ("posedeploy", "infer", work_dir, images[0])
        raise UnavailableError(
            f"{work_dir}, which is whole but was not compared with PyTorch",
            done.not_compared.found, f"{done.backend}, to find keypoints with it",
            f"Run {shlex.join(map(str, again))} where it runs.",
        ) from done.not_compared  # fmt: skip
    if done.outcome == "nothing":
        subject = f"{work_dir}, which is whole but was not compared with PyTorch"
        raise nothing_proven(subject, done.backend, done.response, done.compared, checkpoint)
    return done.outcome


def show_folder(out: Console, folder: Path) -> None:
    """A line on an SDK model folder, and one on each of its files."""
    out.print(f"SDK model: [bold]{one_line(str(folder))}[/]", soft_wrap=True)
    for path in sorted(folder.iterdir()):
        size = f"{path.stat().st_size:>12,} bytes"
        out.print(f"  {one_line(f'{path.name:<24}')}{size}", soft_wrap=True)


def report_response(out: Console, done: Deployment) -> None:
    """A line on each output that means nothing."""
    for fault in done.response.faults:
        out.print(
            f"[bold red]meaningless output[/]: {one_line(fault)}. Keypoints were not compared: "
            "the weights hold nothing, or the conversion lost it.", soft_wrap=True,
        )  # fmt: skip


def report_layers(out: Console, done: Deployment) -> None:
    """What the quantized layers are like, where they were measured."""
    if (layers := done.layers) is None:
        return
    for failure in layers.failures:
        out.print(f"[bold red]wrong layers[/]: {one_line(failure)}", soft_wrap=True)
    if not layers.failures:
        out.print(
            f"[green]right layers[/]: {layers.quantized} in int8, each close to its float32 form "
            f"on drawn figures: {layers.min_db:.3g} dB over its noise or more, half of them "
            f"{layers.median_db:.3g} dB. Whether keypoints stay where they were is not shown by "
            "that.", soft_wrap=True,
        )  # fmt: skip


def report_ranges(out: Console, done: Deployment) -> None:
    """What of the model leaves float16, where keypoints in fp16 differ."""
    if (ranges := done.ranges) is None:
        return
    if not ranges.leaving:
        out.print(
            "no value, sum or weight of the model leaves float16 on these images: the cause is "
            "elsewhere", soft_wrap=True,
        )  # fmt: skip
        return
    worst, more = ranges.leaving[0], len(ranges.leaving) - 1
    remedy = ranges.remedy(worst) or f"at risk on {done.backend}"
    out.print(
        f"[bold red]leaves float16[/]: {worst.module or '(network)'}: {worst.operator} "
        f"({', '.join(worst.risks)}): |x| {worst.largest:.3g}, sum {worst.total:.3g}, "
        f"weights below 6.1e-5 {worst.weight_below:.1%}: {remedy}"
        + (f". {more} more in detail.json" if more else ""), soft_wrap=True,
    )  # fmt: skip


def report_gain(
    out: Console, done: Deployment, measure: Callable[[Path], Gain] | None = None
) -> None:
    """What bf16 gains, beside what it costs: how far it moves keypoints."""
    if done.artifact.precision != "bf16" or not done.compared:
        return
    from posedeploy.apis.gain import measure_gain

    gain = (measure or measure_gain)(done.folder)
    out.print(
        f"time in bf16: {gain.share:.2f} of that in fp32 ({gain.low:.2f} to {gain.high:.2f} in "
        f"half of {gain.rounds} pairs of calls, the network alone, 1 thread)", soft_wrap=True,
    )  # fmt: skip


def report(out: Console, backend: str, compared: Compared) -> None:
    """One line on what the comparison found."""
    from posedeploy.apis.sources import LOCATING

    result, name = compared.distances, one_line(compared.name)
    if result.nobody:
        line = f"[yellow]nothing to compare[/]: {name}: nobody, by {backend} and by PyTorch"
    elif not compared.decides:
        line = (
            f"[dim]not judged[/]: {name}: {result}: generated weights find nothing in it that "
            f"could be compared; {' and '.join(map(repr, LOCATING))} ones are compared on drawn "
            "figures"
        )
    elif result.same:
        line = f"[green]same keypoints[/]: {name}: {result}"
    else:
        line = (
            f"[bold red]different keypoints[/]: {name}: {backend} and PyTorch: {result}. "
            "Look at output_*.jpg."
        )
    out.print(line, soft_wrap=True)


def nothing_proven(
    subject: str,
    backend: str,
    response: Response,
    compared: Sequence[Compared],
    checkpoint: str,
) -> NothingProvenError:
    """The error for a comparison that was carried out and that nothing speaks for or against."""
    from posedeploy.apis.sources import LOCATING

    if response.unmoved:
        return NothingProvenError(
            subject, "; ".join(response.unmoved),
            "keypoints that depend on the image: others are equal by chance",
            "Give a checkpoint that was trained.",
        )  # fmt: skip
    if not all(one.distances.nobody for one in compared):
        return NothingProvenError(
            subject, f"'{checkpoint}' weights, whose keypoints are chance in {backend} int8",
            "weights that find somebody",
            "Give a .pth file, 'zoo', or "
            f"{' or '.join(map(repr, LOCATING))} for models that can have them.",
        )  # fmt: skip
    names = ", ".join(one.name for one in compared)
    return NothingProvenError(
        subject,
        f"nobody in {names}, by {backend} and by PyTorch",
        "at least one person to compare",
        "Give an image of a person, and weights that find people: a .pth file, or 'zoo'.",
    )


class Stages:
    """Shows the stage that is running, and prints a line with its seconds when it has ended.

    `check` exits if a signal has come that a stage swallowed: after the last one too, before the
    folder is put in place.
    """

    def __init__(self, console: Console, check: Callable[[], None] = stopping.check) -> None:
        self._console = console
        self._check = check
        self._status: Status | None = None

    def __call__(self, event: StageEvent) -> None:
        """Show that a stage began or ended."""
        label = LABELS[event.stage]
        if self._status is not None:
            self._status.stop()
            self._status = None
        if event.state != "failed":
            self._check()
        if event.state == "started" and self._console.is_terminal:
            self._status = self._console.status(label)
            self._status.start()
        if event.state == "done":
            self._console.print(f"[dim]{event.seconds:6.1f} s[/]  {label}")
