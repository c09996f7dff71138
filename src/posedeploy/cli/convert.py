"""`posedeploy convert`: MMPose model + deploy config -> SDK model folder, and a comparison."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from posedeploy.cli.completion import (
    complete_checkpoint,
    complete_deploy_config,
    complete_model_config,
)
from posedeploy.cli.model_folder import parse_device
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.sdk.images import read_image
from posedeploy.sdk.windows import check_windows, show_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = """
Examples:

    posedeploy convert pose-detection_simcc_onnxruntime_dynamic rtmpose_s calibrated photo.jpg
    --work-dir work/rtmpose_s

    posedeploy convert deploy.py model.py model.pth photo.jpg --work-dir work/mine
"""
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
DEFAULT_WORK_DIR = Path("work_dir")


def convert(  # noqa: PLR0917 - the signature is the command line
    deploy_cfg: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOY_CFG",
            help="Deploy config: a path, or a name of `configs list`.",
            autocompletion=complete_deploy_config,
        ),
    ],
    model_cfg: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_CFG",
            help="MMPose model config: a path, or a name of `zoo list`.",
            autocompletion=complete_model_config,
        ),
    ],
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A .pth file; 'zoo' for the published one, downloaded; 'calibrated' or 'fitted' "
            "for weights that are made, to try things out.",
            autocompletion=complete_checkpoint,
        ),
    ],
    img: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image to compare on.")],
    work_dir: Annotated[
        Path, typer.Option(help="Where the SDK model folder goes.")
    ] = DEFAULT_WORK_DIR,
    test_img: Annotated[
        list[Path] | None, typer.Option(help="Compare on this image instead of IMAGE.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device to run on; by default the backend's first.")
    ] = None,
    exporter: Annotated[
        str | None, typer.Option(help="torchscript or dynamo; the deploy config's if not given.")
    ] = None,
    calib_images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images that int8 is calibrated on; drawn figures if not given."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window with the result.")] = False,
    log_level: Annotated[str, typer.Option(help=f"One of {', '.join(LOG_LEVELS)}.")] = "WARNING",
) -> None:
    """Convert a model, and compare its keypoints with PyTorch's."""
    set_log_level(log_level)
    console = Console(highlight=False)
    if show:
        check_windows(f"Leave --show out, and look at the images in {work_dir}.")
    images = {path: read_image(path) for path in (test_img or [img])}
    read_image(img)
    same = run(
        deploy_cfg, model_cfg, checkpoint, images,
        work_dir=work_dir, device=device, exporter=exporter, calib_images=calib_images,
        console=console,
    )  # fmt: skip
    if show:
        show_files(sorted(work_dir.glob("output_*.jpg")))
    if not same:
        raise typer.Exit(1)


convert.__doc__ = f"{convert.__doc__}\n{EXAMPLES}"


def set_log_level(name: str) -> None:
    """Set the level of all loggers.

    Raises:
        BadInputError: No such level.
    """
    if name.upper() not in LOG_LEVELS:
        raise BadInputError("--log-level", name, f"one of {', '.join(LOG_LEVELS)}", "Change it.")
    logging.basicConfig(level=name.upper(), format="%(levelname)s %(name)s: %(message)s")


def run(
    deploy_cfg: str,
    model_cfg: str,
    checkpoint: str,
    images: dict[Path, NDArray[np.uint8]],
    *,
    work_dir: Path,
    device: str | None,
    exporter: str | None,
    calib_images: Path | None = None,
    console: Console,
) -> bool:
    """Convert, compare, write; True if the deployed model finds PyTorch's keypoints.

    Raises:
        UnavailableError: The backend converts here and runs elsewhere: the folder is written, and
            its keypoints are not compared.
    """
    from posedeploy.apis import deploying, sources
    from posedeploy.apis import work_dir as work_dir_of
    from posedeploy.config import load_deploy_config, load_model_config

    sources.check_order(deploy_cfg)
    deploy_config = deploying.with_calib_images(load_deploy_config(deploy_cfg), calib_images)
    model_config = load_model_config(sources.resolve_model_config(model_cfg))
    if device is not None:
        parse_device(device)
        deploying.check_device(deploy_config, device)
    deploying.check_ready(deploy_config, model_config, exporter)
    work_dir_of.check_work_dir(work_dir)
    with step(console, "checkpoint"):
        weights = sources.resolve_checkpoint(model_cfg, checkpoint)
    with step(console, "PyTorch model"):
        from posedeploy.zoo.build import build_model

        model = build_model(model_config, weights)
    with work_dir_of.whole_folder(work_dir) as staging:
        with step(console, f"export and convert to {deploy_config.backend}"):
            done = deploying.deploy_model(
                model, deploy_config, model_config, str(weights), staging, exporter=exporter
            )
        same, nowhere = False, None
        with step(console, "comparison with PyTorch"):
            try:
                same = compare_on(
                    images, staging, model=model, model_config=model_config, done=done,
                    console=console,
                )  # fmt: skip
            except UnavailableError as error:
                nowhere = error
    console.print(f"SDK model: [bold]{work_dir}[/]", soft_wrap=True)
    for path in sorted(work_dir.iterdir()):
        console.print(f"  {path.name:<24}{path.stat().st_size:>12,} bytes")
    if note := sources.note_on(checkpoint):
        console.print(f"{note}", style="dim", soft_wrap=True)
    if nowhere is not None:
        raise UnavailableError(
            f"{work_dir}, which is whole but was not compared with PyTorch", nowhere.found,
            f"{done.backend}, to find keypoints with it",
            f"Run posedeploy infer {work_dir} {next(iter(images))} where it runs.",
        ) from nowhere  # fmt: skip
    return same


def compare_on(
    images: dict[Path, NDArray[np.uint8]],
    folder: Path,
    *,
    model: Any,
    model_config: Any,
    done: Any,
    console: Console,
) -> bool:
    """Draw both results for every image into the folder; True if all are the same."""
    import cv2

    from posedeploy.apis import comparing
    from posedeploy.sdk.drawing import draw_poses
    from posedeploy.sdk.folder import read_folder

    meta, backend = read_folder(folder).dataset_meta, done.backend
    verdicts = []
    for i, (path, image) in enumerate(images.items()):
        pytorch = comparing.pytorch_keypoints(model, model_config, image)
        deployed = comparing.sdk_keypoints(folder, image)
        suffix = "" if i == 0 else f"_{i}"
        for name, points in ((backend, deployed), ("pytorch", pytorch)):
            drawn = draw_poses(image, points, meta)
            cv2.imwrite(str(folder / f"output_{name}{suffix}.jpg"), drawn)
        width, height = model_config.input_size
        scale = max(image.shape[1] / width, image.shape[0] / height) * 1.25
        result = comparing.compare(deployed, pytorch, done.artifact.precision, scale)
        verdicts.append(result.same)
        report(console, path, backend, result)
    return all(verdicts)


def report(console: Console, path: Path, backend: str, result: Any) -> None:
    """One line on what the comparison found."""
    people = f"{result.people} {'person' if result.people == 1 else 'people'}"
    numbers = f"median {result.median_px:.3g} px, at most {result.max_px:.3g} px apart"
    if result.same:
        console.print(
            f"[green]same keypoints[/]: {path.name}: {people}, {numbers} "
            f"(allowed {result.limit_px:.3g} px)", soft_wrap=True,
        )  # fmt: skip
        return
    console.print(
        f"[bold red]different keypoints[/]: {path.name}: {backend} and PyTorch: {people} in both, "
        f"{result.only_one} in one of them, {numbers} (allowed {result.limit_px:.3g} px). "
        "Look at output_*.jpg; the conformance suite tells a near tie from a fault.",
        soft_wrap=True,
    )


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    """Say what is being done while it is done, and how long it took."""
    import time

    started = time.perf_counter()
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        yield
    console.print(f"[dim]{time.perf_counter() - started:6.1f} s[/]  {what}")
