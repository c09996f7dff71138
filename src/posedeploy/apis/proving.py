"""What must hold so that equal keypoints prove anything.

Two implementations that compute nothing agree perfectly: a graph must output finite numbers, and
other ones for another image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.apis.exporting import Exported
from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.convert import get_converter
from posedeploy.errors import ConversionError
from posedeploy.heads import load, stage_of_component
from posedeploy.precision.images import model_preprocessor
from posedeploy.runtime import backend_row
from posedeploy.runtime.quantized.limits import layer_failures, layer_limit_for
from posedeploy.runtime.quantized.noise import Quantized
from posedeploy.runtime.responses import response_fault, same_argmax_fraction
from posedeploy.sdk.folder import SdkModel
from posedeploy.sdk.images import Image
from posedeploy.sdk.pose_detector import PoseDetector
from posedeploy.sdk.reading import ImageSource
from posedeploy.synthetic.drawn import drawn_figures

LAYER_IMAGES = 6  # figures that layers are measured on: thousands of values of each
PEOPLE = 2  # in a drawn scene for a model that finds people itself
PROBES = 2  # drawn figures that are looked at besides the images, so that a blank one will do


@dataclass(frozen=True)
class Response:
    """How the outputs of a deployed graph respond to images.

    `faults` are outputs that are not finite, constant, or the same for every image. In `unmoved`
    ones the numbers differ and not one keypoint moves, so that equal ones prove nothing: freshly
    initialized networks may be like that (the tiny ones of the tests move 5 %, calibrated and
    trained ones 94 % and more). Both name the output; both are empty for what can be compared.
    """

    faults: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()


def response(detector: PoseDetector, sources: Sequence[ImageSource]) -> Response:
    """Run the graph of a detector on images and on others, and compare its outputs."""
    found = [detector.outputs(image) for image in probes(detector, sources)]
    faults, unmoved = [], []
    for name in found[0]:
        arrays = [outputs[name] for outputs in found]
        if not detector.top_down and not any(array.any() for array in arrays):
            continue  # nobody is found in any image: there is nothing to compare
        if len({array.shape for array in arrays}) > 1:  # the number of people depends on the image
            values = np.concatenate([array.ravel() for array in arrays])[None]
        else:
            values = np.concatenate(arrays)
        if fault := response_fault(values, np.arange(len(values))):
            faults.append(f"{name}: {fault}")
        elif _has_peaks(detector.model, name) and same_argmax_fraction(values) == 1:
            unmoved.append(f"{name}: each keypoint at the same place in every image")
    return Response(tuple(faults), tuple(unmoved))


@dataclass(frozen=True)
class Layers:
    """The quantized layers of an int8 artifact, each on its own float32 input.

    It shows that ranges and weights were quantized well, whatever the weights find.
    """

    quantized: int
    min_db: float  # signal over noise of the noisiest layer
    median_db: float
    failures: tuple[str, ...]


def measured_layers(
    exported: Exported,
    files: Sequence[Path],
    deploy_config: DeployConfig,
    model_config: ModelConfig,
    scratch: Path,
) -> Layers | None:
    """Measure the quantized layers of a conversion; None where the backend's can't be measured.

    The same export is converted to float32 in a new folder in `scratch`, and both run on figures
    that ranges were not calibrated on.

    Raises:
        ConversionError: The layers cannot be found in the float32 form.
    """
    row = backend_row(deploy_config.backend)
    if not row.measure:
        return None
    folder = scratch / "float32"
    folder.mkdir()
    exact = replace(deploy_config, precision="fp32")
    converted = get_converter(row.name, "fp32").convert(exported.path, exact, folder, None)
    inputs = np.concatenate(list(figure_inputs(model_config, LAYER_IMAGES)))
    float_files = [str(folder / name) for name in converted.files]
    try:
        measured: Quantized = load(row.measure)([str(path) for path in files], float_files, inputs)
    except ValueError as error:
        raise ConversionError(
            "compare", f"layers of {files[0].name}", str(error),
            "the layers of the float32 form of the same export", "Report this.",
        ) from error  # fmt: skip
    noise = np.asarray([layer.sqnr_db for layer in measured.layers] or [-np.inf])
    failures = layer_failures(measured, layer_limit_for(model_config.family, row.name))
    return Layers(len(measured.layers), float(noise.min()), float(np.median(noise)), failures)


def figure_inputs(model_config: ModelConfig, count: int) -> Iterator[NDArray[np.float32]]:
    """Normalized inputs `[1, 3, H, W]` with drawn figures, as the SDK makes them."""
    preprocessor = model_preprocessor(model_config)
    for image in figures(model_config, count):
        yield preprocessor.tensor(preprocessor.regions(image, None))


def figures(model_config: ModelConfig, count: int) -> Iterator[Image]:
    """Drawn figures that no weights were fitted to, each cut to its box for a top-down model."""
    if model_config.head_kind.bottom_up:
        scenes = drawn_figures("evaluation", count, PEOPLE, model_config.input_size)
        yield from (scene.image for scene in scenes)
        return
    for figure in drawn_figures("evaluation", count):
        left, top, right, bottom = figure.bboxes[0].astype(int).tolist()
        yield np.ascontiguousarray(figure.image[top:bottom, left:right])


def probes(detector: PoseDetector, sources: Sequence[ImageSource]) -> Iterator[Image]:
    """The images, the first one upside down, and drawn figures: each `[H, W, 3]` uint8, BGR."""
    for index, source in enumerate(sources):
        image = detector.read(source)
        yield image
        if index == 0:
            yield np.ascontiguousarray(image[::-1, ::-1])
    yield from (figure.image for figure in drawn_figures("evaluation", PROBES))


def _has_peaks(sdk: SdkModel, name: str) -> bool:
    """Whether an output is `[N, K, bins …]` with a keypoint at the maximum."""
    _, stage = stage_of_component(sdk.component, sdk.params.value)
    return any(output.name == name and output.has_peaks for output in stage.outputs)
