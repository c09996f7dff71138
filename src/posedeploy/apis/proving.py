"""What must hold so that equal keypoints prove anything.

Two implementations that compute nothing agree perfectly: a graph must output finite numbers, and
other ones for another image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posedeploy.heads import stage_of_component
from posedeploy.runtime import device_of
from posedeploy.runtime.responses import response_fault, same_argmax_fraction
from posedeploy.sdk.folder import SdkModel, read_folder
from posedeploy.sdk.images import MOST_PIXELS, Image
from posedeploy.sdk.pose_detector import PoseDetector
from posedeploy.sdk.reading import ImageSource
from posedeploy.synthetic.drawn import drawn_figures

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


def response(folder: Path, sources: Sequence[ImageSource]) -> Response:
    """Run the graph of an SDK model folder on images and on others, and compare its outputs.

    Raises:
        UnavailableError: The backend does not run here.
    """
    sdk = read_folder(folder)
    device = device_of(sdk.model.backend, sdk.precision)
    with PoseDetector(folder, device, max_pixels=MOST_PIXELS) as detector:
        found = [detector.outputs(image) for image in _probes(detector, sources)]
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
        elif _has_peaks(sdk, name) and same_argmax_fraction(values) == 1:
            unmoved.append(f"{name}: each keypoint at the same place in every image")
    return Response(tuple(faults), tuple(unmoved))


def _probes(detector: PoseDetector, sources: Sequence[ImageSource]) -> Iterator[Image]:
    """The images, the first one upside down, and drawn figures."""
    for index, source in enumerate(sources):
        image = detector.read(source)
        yield image
        if index == 0:
            yield np.ascontiguousarray(image[::-1, ::-1])
    yield from (figure.image for figure in drawn_figures("evaluation", PROBES))


def _has_peaks(sdk: SdkModel, name: str) -> bool:
    """Whether an output is `[N, K, bins …]` with a keypoint at the maximum."""
    head, stage = stage_of_component(sdk.component)
    axes = {output.name: output.axes for output in stage.outputs}.get(name, ())
    return head.top_down and axes[1:2] == ("K",) and not isinstance(axes[-1], int)
