"""Model + deploy config -> SDK model folder: `export` -> `convert_exported` -> `compare`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from posedeploy.apis.comparing import Compared, FindKeypoints, detector_of
from posedeploy.apis.exporting import Exported, check_fit, export
from posedeploy.apis.measuring import RangeReport, ranges_on
from posedeploy.apis.progress import Progress, at_stage, silent
from posedeploy.apis.proving import Layers, Response, measured_layers, response
from posedeploy.apis.reference import Reference
from posedeploy.apis.sessions import LoadedOnce
from posedeploy.apis.sources import (
    GENERATED,
    default_weights,
    is_zoo_name,
    resolve_checkpoint,
    resolve_model_config,
)
from posedeploy.apis.verdict import Outcome, compare_images, draw_compared, outcome_of
from posedeploy.config import (
    EXPORTERS,
    DeployConfig,
    ModelConfig,
    load_deploy_config,
    load_model_config,
)
from posedeploy.convert import Declared, conversion_availability, get_converter, missing_tools
from posedeploy.convert.types import copy_host_weights
from posedeploy.errors import BadInputError, ConversionError, UnavailableError, did_you_mean
from posedeploy.paths import followed, scratch_folder, whole_folder
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.images import calibration_set, image_files
from posedeploy.runtime import (
    Availability,
    Device,
    Runtime,
    SessionOptions,
    backend_row,
    get_runtime,
    probe_on,
)
from posedeploy.sdk.reading import ImageSource
from posedeploy.sdk.writer import Artifact, add_facts, write_json_files

if TYPE_CHECKING:
    from torch import nn

SDK_FILES = {"deploy.json", "pipeline.json", "detail.json"}


@dataclass(frozen=True)
class Deployment:
    """An SDK model folder that was written.

    `files` are the backend's, the main one first; `artifact` is what they declare when loaded.
    `compared` has one entry an image, and further ones on drawn figures for fitted weights;
    `not_compared` is set where the backend only converts here. Where the outputs of the graph mean
    nothing (`response`), nothing is compared.
    """

    folder: Path
    backend: str
    files: tuple[Path, ...]
    artifact: Artifact
    exported: Exported
    convert_seconds: float  # after the export
    compared: tuple[Compared, ...] = ()
    not_compared: UnavailableError | None = None
    response: Response = field(default_factory=Response)
    layers: Layers | None = None  # of int8 with generated weights
    ranges: RangeReport | None = None  # of fp16 that finds other keypoints than PyTorch

    @property
    def outcome(self) -> Outcome:
        """What the comparison has shown."""
        return outcome_of(self.compared, self.response, self.layers)


def deploy(
    deploy_cfg: str | Path,
    model_cfg: str | Path,
    checkpoint: str | Path | None,
    work_dir: str | Path,
    *,
    exporter: str | None = None,
    calib_images: str | Path | None = None,
    max_pixels: int | None = None,
    device: str | None = None,
    images: Sequence[ImageSource] = (),
    find: FindKeypoints | None = None,
    progress: Progress = silent,
) -> Deployment:
    """Convert an MMPose model into an SDK model folder.

    Args:
        deploy_cfg: A path, or a name in `deploy_configs/`.
        model_cfg: A path, or a name in the zoo.
        checkpoint: As `sources.resolve_checkpoint` takes it; None for generated weights, for int8
            those that find drawn figures, where there are any.
        work_dir: The folder; absent, empty, or an SDK model folder (replaced whole).
        exporter: 'torchscript' or 'dynamo'; None takes the deploy config's.
        calib_images: Folder of images that int8 is calibrated on; None takes the deploy
            config's, or else drawn figures.
        max_pixels: Width times height above which one of them is left out; None takes the
            default of `sdk.images`.
        device: Where the backend is to run later; refused if it does not run there.
        images: Files, or arrays `[H, W, 3]` uint8, BGR, on which keypoints are compared with
            PyTorch's; drawings of both go into the folder.
        find: As `compare` takes it.
        progress: Called when a stage begins or ends.

    Raises:
        BadInputError: A config, the checkpoint or the work dir is not what it should be.
        UnavailableError: The backend cannot be converted for here.
        ConversionError: Exporter or backend refused the model.
    """
    from posedeploy.zoo.build import build_model, check_forward

    if is_zoo_name(deploy_cfg):
        raise BadInputError(
            f"deploy config {deploy_cfg}", "the name of a model",
            "a path, or a name that `posedeploy configs list` shows",
            "The deploy config comes first, the model config after it.",
        )  # fmt: skip
    deploy_config = with_calib_images(load_deploy_config(deploy_cfg), calib_images, max_pixels)
    model_config = load_model_config(resolve_model_config(model_cfg))
    if device is not None:
        check_device(deploy_config, device)
    check_ready(deploy_config, model_config, exporter)
    target = Path(work_dir)
    check_work_dir(target)
    if checkpoint is None:
        checkpoint = default_weights(model_config, deploy_config.precision)
    with at_stage("checkpoint", progress):
        weights = resolve_checkpoint(model_cfg, checkpoint)
    with at_stage("model", progress):
        model = build_model(model_config, weights)
        check_forward(model, model_config)
    with (
        whole_folder(target) as staging,
        scratch_folder("export", staging.parent) as scratch,
    ):
        exported = export(
            model_config, weights, deploy_config, scratch,
            model=model, exporter=exporter, progress=progress,
        )  # fmt: skip
        runtime = LoadedOnce.of(deploy_config.backend)
        done = convert_exported(
            exported, deploy_config, model_config, staging, runtime=runtime, progress=progress
        )
        check_written(staging, target)
        if images:
            with at_stage("compare", progress):
                kind = str(checkpoint)
                done = _compare(
                    done, model_config, model, images, kind=kind, find=find, runtime=runtime
                )
                if kind in GENERATED and deploy_config.precision == "int8":
                    layers = measured_layers(
                        exported, done.files, deploy_config, model_config, scratch
                    )
                    done = replace(done, layers=layers)
                if deploy_config.precision == "fp16" and done.outcome is Outcome.DIFFERENT:
                    done = _explained(done, model_config, model, images)
    return replace(done, folder=target, files=tuple(target / path.name for path in done.files))


def _compare(
    done: Deployment,
    model_config: ModelConfig,
    model: nn.Module,
    images: Sequence[ImageSource],
    *,
    kind: str,
    find: FindKeypoints | None,
    runtime: Runtime,
) -> Deployment:
    """Compare on the images and draw both results into the folder."""
    from posedeploy.sdk.folder import read_folder

    try:
        with detector_of(done.folder, runtime) as detector:
            responded = response(detector, images)
            if responded.faults:
                return replace(done, response=responded)
            reference = Reference(model, model_config, (done.backend, done.artifact.precision))
            compared = compare_images(detector, reference, images, kind=kind, find=find)
    except UnavailableError as error:
        return replace(done, not_compared=error)
    draw_compared(done.folder, read_folder(done.folder), images, compared)
    return replace(done, compared=compared, response=responded)


def _explained(
    done: Deployment,
    model_config: ModelConfig,
    model: nn.Module,
    images: Sequence[ImageSource],
) -> Deployment:
    """With what of the model leaves float16, which `detail.json` has too."""
    reference = Reference(model, model_config, (done.backend, "fp16"))
    ranges = ranges_on(reference, images, done.exported.checkpoint)
    add_facts(done.folder, leaves_float16=ranges.facts(ranges.leaving))
    return replace(done, ranges=ranges)


def check_written(folder: Path, target: Path) -> None:
    """Raise a ConversionError where `posedeploy validate` finds errors in a folder.

    `target` is the name for people, where the folder is to be put.
    """
    from posedeploy.sdk.checks import Level
    from posedeploy.sdk.validate import validate

    errors = [finding for finding in validate(folder) if finding.level is Level.ERROR]
    if errors:
        raise ConversionError(
            "convert", f"SDK model {target}, which was not written",
            "; ".join(str(finding).removeprefix("error: ") for finding in errors),
            "a folder in which `posedeploy validate` finds no errors",
            "Correct the model config or the deploy config; if neither is wrong, report this.",
        )  # fmt: skip


def with_calib_images(
    deploy_config: DeployConfig, calib_images: str | Path | None, max_pixels: int | None = None
) -> DeployConfig:
    """The deploy config with another folder of calibration images, and their limit of pixels.

    BadInputError if it is not for int8, or if there are no images in the folder.
    """
    settings = deploy_config.calibration
    if max_pixels is not None:
        settings = replace(settings, max_pixels=max_pixels)
    if calib_images is None:
        return replace(deploy_config, calibration=settings)
    if deploy_config.precision != "int8":
        raise BadInputError(
            "--calib-images", f"{calib_images}, with an {deploy_config.precision} deploy config",
            "a deploy config for int8: the other precisions measure no ranges",
            "Leave the option out, or choose an int8 deploy config.",
        )  # fmt: skip
    folder = Path(calib_images)
    image_files(folder)
    return replace(deploy_config, calibration=replace(settings, images=folder, count=None))


def check_device(
    deploy_config: DeployConfig,
    device: str,
    probe: Callable[[str, str], Availability] = probe_on,
) -> None:
    """Refuse a device that the backend does not run on, or that is not here.

    BadInputError if the backend never runs on it, else UnavailableError. The backend's first
    device is not probed: converting may do without (`check_ready`).
    """
    devices = backend_row(deploy_config.backend).devices
    kind = Device.parse(device).kind
    if kind in devices[1:]:
        available = probe(deploy_config.backend, device)
        if not available.ok:
            raise UnavailableError(
                f"--device {device}", f"{available.code}: {available.reason}",
                f"a device on which {deploy_config.backend} runs here",
                f"Use --device {devices[0]}.",
            )  # fmt: skip
    if kind not in devices:
        raise BadInputError(
            "--device", device, f"a device of {deploy_config.backend}: {', '.join(devices)}",
            "Choose another device or another deploy config.",
        )  # fmt: skip


def check_ready(
    deploy_config: DeployConfig,
    model_config: ModelConfig,
    exporter: str | None = None,
    probe: Callable[[str], Availability] = conversion_availability,
) -> None:
    """Everything that can be refused before torch has done any work.

    BadInputError for the configs and the exporter, UnavailableError for a missing converter.
    """
    check_fit(deploy_config, model_config)
    if exporter is not None and exporter not in EXPORTERS:
        raise BadInputError(
            "--exporter", exporter, f"one of {', '.join(EXPORTERS)}",
            did_you_mean(exporter, EXPORTERS, "Choose one of them."),
        )  # fmt: skip
    get_converter(deploy_config.backend, deploy_config.precision)
    available = probe(deploy_config.backend)
    if not available.ok:
        missing = missing_tools(deploy_config.backend)
        raise UnavailableError(
            f"backend {deploy_config.backend}",
            f"{available.code}: {available.reason}",
            "what converts for it, on this machine",
            f"Install it: python -m pip install {' '.join(missing)}" if missing else
            "Install it, or choose another deploy config.",
        )  # fmt: skip


def convert_exported(
    exported: Exported,
    deploy_config: DeployConfig,
    model_config: ModelConfig,
    folder: Path,
    *,
    calibration: CalibrationSet | None = None,
    runtime: Runtime | None = None,
    progress: Progress = silent,
) -> Deployment:
    """Convert an export into an SDK model folder; `folder` exists and is empty.

    int8 is calibrated on `calibration`, or else on what the deploy config names. `runtime` loads
    the files where their inputs and outputs are not known yet; None takes the backend's own.

    Raises:
        ConversionError: The backend refused the graph, at 'convert' or at 'load'.
    """
    started = time.perf_counter()
    with at_stage("convert", progress):
        converter = get_converter(deploy_config.backend, deploy_config.precision)
        if calibration is None and deploy_config.precision == "int8":
            calibration = calibration_set(model_config, deploy_config.calibration)
        converted = converter.convert(exported.path, deploy_config, folder, calibration)
        copy_host_weights(exported.path, folder)
        files = tuple(folder / name for name in converted.files)
        row = backend_row(deploy_config.backend)
        if (declared := converted.declared) is None:
            try:
                session = (runtime or get_runtime(row.name)).load(
                    files, row.devices[0], SessionOptions(precision=converted.precision)
                )
            except RuntimeError as error:
                raise ConversionError(
                    "load", str(files[0]), str(error), "a file that the backend loads",
                    "Report this.",
                ) from error  # fmt: skip
            declared = Declared(session.inputs, session.outputs)
        artifact = Artifact(
            converted.files, converted.precision, declared.inputs, declared.outputs,
            names_are_positions=row.by_position, host=exported.host, recipe=converted.recipe,
        )  # fmt: skip
        write_json_files(
            folder, artifact, model_config, deploy_config,
            exported.checkpoint, exported.dataset_meta,
        )  # fmt: skip
    seconds = round(time.perf_counter() - started, 3)
    return Deployment(folder, deploy_config.backend, files, artifact, exported, seconds)


def check_work_dir(target: Path) -> None:
    """BadInputError for a file, a folder with other things in it, and what is not writable."""
    real = followed(target)
    if real is None:
        raise BadInputError(
            f"work dir {target}", "a loop of links", "an absent or empty folder",
            "Choose another place.",
        )  # fmt: skip
    place = next(path for path in target.absolute().parents if path.exists())
    try:  # permissions alone do not tell: a file system may be read-only
        with scratch_folder(target.name, place):
            pass
    except OSError as error:
        raise BadInputError(
            f"work dir {target}", f"{place}, which cannot be written to ({error.strerror})",
            "a place that can be written to", "Choose another place.",
        ) from error  # fmt: skip
    if real in {Path.cwd(), *Path.cwd().parents}:
        raise BadInputError(
            f"work dir {target}", "the current folder, or one around it",
            "a folder that can be replaced by another", "Name a folder in it.",
        )  # fmt: skip
    if not target.exists():
        return
    if not target.is_dir():
        raise BadInputError(f"work dir {target}", "a file", "a folder", "Choose another place.")
    names = {path.name for path in target.iterdir()}
    if names and not names >= SDK_FILES:
        raise BadInputError(
            f"work dir {target}",
            f"a folder with other things in it ({', '.join(sorted(names)[:5])})",
            "an absent or empty folder, or an SDK model folder",
            "Choose another place, or empty it.",
        )  # fmt: skip
