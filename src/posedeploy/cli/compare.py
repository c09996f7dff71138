"""`posedeploy compare`: an artifact, whoever made it, against its PyTorch model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from posedeploy.cli.arguments import (
    DeviceOption,
    check_name,
    check_word,
    complete_checkpoint,
    complete_model_config,
    output_folder,
    parse_device,
)
from posedeploy.cli.collection import without_collection
from posedeploy.cli.convert import Stages, check_drawable, nothing_proven, report
from posedeploy.cli.filekinds import check_images
from posedeploy.cli.infer.videos import quiet_opencv
from posedeploy.cli.inputs import MaxPixelsOption
from posedeploy.cli.terminal import console, one_line
from posedeploy.errors import BadInputError
from posedeploy.runtime import ComputePrecision
from posedeploy.sdk.images import MAX_PIXELS, read_image

if TYPE_CHECKING:
    from posedeploy.apis.artifacts import ArtifactComparison


def compare(  # noqa: PLR0917 - the signature is the command line
    artifact: Annotated[Path, typer.Argument(
        metavar="ARTIFACT", help="SDK model folder, a zip of it, or a file of a backend: .onnx, "
        ".xml, .param, .engine, .pt, .mlpackage, .tflite.")],
    model_cfg: Annotated[str, typer.Argument(
        metavar="MODEL_CFG", help="MMPose model config: a path, or a name of `zoo list`.",
        autocompletion=complete_model_config)],
    checkpoint: Annotated[str, typer.Argument(
        metavar="CHECKPOINT", autocompletion=complete_checkpoint,
        help="What the artifact was made of: a .pth file or its URL; 'zoo', 'calibrated', "
        "'trained' or 'fitted', as for `convert`.")],
    images: Annotated[list[Path] | None, typer.Argument(
        metavar="[IMAGE]...", help="Images to compare on; drawn figures if not given.")] = None,
    outputs: Annotated[list[str] | None, typer.Option(
        metavar="NAME=GRAPH_NAME", help="An output of a file, such as simcc_x=out0; may be "
        "repeated. Found out by names and shapes if not given.")] = None,
    precision: Annotated[str | None, typer.Option(
        help="Precision of a file: fp32, fp16, bf16 or int8; read from it if not given.")] = None,
    out: Annotated[Path, typer.Option(
        help="Folder for what is drawn.")] = Path("comparison"),
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    device: DeviceOption = None,
) -> None:  # fmt: skip
    """Compare an artifact, whoever made it, with PyTorch, and say at which stage it differs.

    Exit code: 0 same keypoints, 1 different ones, 2 bad input, 3 the backend does not run here,
    4 nothing to compare.

    Examples:

    - `posedeploy compare work/rtmpose_s rtmpose_s calibrated photo.jpg`
    - `posedeploy compare model.onnx model.py model.pth photo.jpg --outputs simcc_x=out0
      --outputs simcc_y=out1`
    """
    if precision is not None:
        check_word("--precision", precision, tuple(ComputePrecision))
    if device is not None:
        parse_device(device)
    check_name(f"artifact {artifact}", artifact)
    quiet_opencv()
    paths = list(dict.fromkeys(images or []))
    check_images(paths)
    for path in paths:
        check_drawable(path, read_image(path, max_pixels))
    named = parse_outputs(outputs) if outputs else None
    if out.exists():
        output_folder(out)
    screen = console()
    with without_collection():
        from posedeploy.apis.artifacts import compare_artifact

        done = compare_artifact(
            artifact, model_cfg, checkpoint, paths,
            outputs=named, precision=precision, device=device, draw_into=out,
            progress=Stages(screen),
        )  # fmt: skip
    show(screen, done, checkpoint)
    if done.outcome == "nothing":
        subject = f"{artifact}, which was not compared with PyTorch"
        raise nothing_proven(subject, done.backend, done.response, done.compared, checkpoint)
    if done.outcome != "same":
        raise typer.Exit(1)


def parse_outputs(words: list[str]) -> dict[str, str]:
    """Names in the contract -> names in the graph, of 'NAME=GRAPH_NAME'.

    Raises:
        BadInputError: A word is none, or a name is given twice.
    """
    named: dict[str, str] = {}
    for word in words:
        name, equals, target = word.partition("=")
        if not (name and equals and target) or name in named:
            raise BadInputError(
                "--outputs", word, "NAME=GRAPH_NAME, each name once, such as simcc_x=out0",
                "Write it once for each output.",
            )  # fmt: skip
        named[name] = target
    return named


def show(out: Console, done: ArtifactComparison, checkpoint: str) -> None:
    """A line on each stage, on each image, and on what was drawn."""
    from posedeploy.apis.sources import note_on

    for stage in done.stages:
        mark = "[green]ok[/]  " if stage.passed else "[bold red]fail[/]"
        for text in stage.faults or (stage.facts,):
            out.print(f"{stage.stage:<10} {mark}  {one_line(text)}", soft_wrap=True)
    for note in done.notes:
        out.print(f"[yellow]note[/]: {one_line(note)}", soft_wrap=True)
    for result in done.compared:
        report(out, done.backend, result)
    failed = [stage.stage for stage in done.stages if not stage.passed]
    if failed:
        out.print(f"[bold red]different[/]: it differs from PyTorch first at '{failed[0]}'")
    if done.drawn:
        files = ", ".join(str(path) for path in done.drawn)
        out.print(f"drawn: {one_line(files)}", soft_wrap=True)
    if note := note_on(checkpoint):
        out.print(f"{note}", style="dim", soft_wrap=True)
