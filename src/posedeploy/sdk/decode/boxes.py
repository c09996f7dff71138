"""Boxes from detectors of MMDetection and its like: people without keypoints, in input px.

`ResizeBBox` and `ResizeInstanceMask` are the components that MMDeploy 1.3.1 writes for graphs that
end with non-maximum suppression (csrc/mmdeploy/codebase/mmdet/object_detection.cpp).
`YOLOXBoxes` and `UnlabeledBoxes` are ours, for graphs that come without a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import MISMATCH, Decoded, Decoder, Outputs, floats
from posedeploy.sdk.decode.detections import MAX_LABEL, best_class
from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
STRIDES = (8, 16, 32)  # px between the priors of a level, of YOLOX and RTMDet
SAMPLED = 200  # priors that tell whether a graph's boxes are decoded


@dataclass(frozen=True)
class BoxesDecoder:
    """`dets [N, M, 5]` (x1, y1, x2, y2 in input px, score) and `labels [N, M]` to people.

    Rows of padding have no score. A model of one class may have no `labels`.
    """

    input_size: tuple[int, int]
    score_threshold: float  # lower limit of a score, exclusive
    outputs: tuple[str, ...] = ("dets", "labels")

    def decode(self, outputs: Outputs) -> Decoded:
        """People in the graph's order, image by image."""
        dets = floats(outputs, "dets", ("N", "M", 5))
        image, row = np.nonzero(dets[..., 4] > np.float32(self.score_threshold))
        found = dets[image, row]
        labels = None
        if "labels" in self.outputs:
            labels = _labels(floats(outputs, "labels", dets.shape[:2])[image, row])
        return _decoded(image, found[:, :4], found[:, 4], labels)


def _labels(column: Floats) -> Labels:
    """Classes `[n]` of boxes; a BadInputError for what is none."""
    wrong = ~((column >= 0) & (column <= MAX_LABEL) & (column == np.round(column)))
    if wrong.any():
        found = f"a class of {column[wrong][0]:g}"
        raise BadInputError("graph output 'labels'", found, "whole numbers from 0", MISMATCH)
    return column.astype(np.int64)


@lru_cache(maxsize=8)
def priors(input_size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Corners `[P, 2]` of the cells of all levels in strides, and the strides `[P, 1]`, px."""
    cells, strides = [], []
    for stride in STRIDES:
        wide, high = (side // stride for side in input_size)
        y, x = np.mgrid[:high, :wide]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=-1))
        strides.append(np.full((wide * high, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


@dataclass(frozen=True)
class YoloxDecoder:
    """`output [N, P, 5 + C]` of YOLOX to people: center, size, objectness, C classes.

    Ge et al., "YOLOX: Exceeding YOLO Series in 2021": a center is an offset from the prior's cell
    in strides, a size the logarithm of strides. Graphs that were exported with the decoding have
    px instead; which of the two it is the numbers tell, see `is_decoded`.
    """

    input_size: tuple[int, int]
    score_threshold: float
    outputs: tuple[str, ...] = ("output",)

    def decode(self, outputs: Outputs) -> Decoded:
        """People in the order of the priors, image by image."""
        cells, strides = priors(self.input_size)
        output = floats(outputs, "output", ("N", len(cells), "D"))
        if output.shape[2] < 6:
            raise BadInputError(
                "graph output 'output'", f"shape {list(output.shape)}",
                "at least 6 numbers a prior: box, objectness, and a class or more", MISMATCH,
            )  # fmt: skip
        threshold = np.float32(self.score_threshold)
        # probabilities of classes only lower the objectness: few priors are left to look at
        image, prior = np.nonzero(output[..., 4] > threshold)
        rows = output[image, prior]
        scores, labels = best_class(rows[:, 4:5] * rows[:, 5:])
        center, size = rows[:, :2], rows[:, 2:4]
        if not is_decoded(output[..., :2], cells, strides):
            center = (center + cells[prior]) * strides[prior]
            size = np.exp(size.clip(max=np.float32(20))) * strides[prior]
        boxes = np.concatenate([center - size / 2, center + size / 2], axis=-1)
        chosen = scores > threshold
        label = labels if labels is None else labels[chosen]
        return _decoded(image[chosen], boxes[chosen], scores[chosen], label)


def is_decoded(centers: Floats, cells: Floats, strides: Floats) -> bool:
    """Whether centers `[N, P, 2]` are px, and not offsets from their cells in strides.

    Both stay near their cells, whatever the image: the median prior is nearer to its cell's
    corner if px are taken as px, or nearer to 0 if offsets are taken as offsets.
    """
    step = max(1, len(cells) // SAMPLED)
    some, cells, strides = centers[:, ::step], cells[::step], strides[::step]
    as_px = np.abs(some / strides - cells).max(axis=-1)
    return bool(np.median(as_px) < np.median(np.abs(some).max(axis=-1)))


def _decoded(
    image: NDArray[np.intp], boxes: Floats, scores: Floats, labels: Labels | None
) -> Decoded:
    points = np.empty((len(boxes), 0, 2), np.float32)
    return Decoded(image, points, points[..., 0], boxes, scores, labels)


def _boxes_decoder(params: Node, input_size: tuple[int, int]) -> BoxesDecoder:
    return BoxesDecoder(input_size, _threshold(params))


def _unlabeled_decoder(params: Node, input_size: tuple[int, int]) -> BoxesDecoder:
    return BoxesDecoder(input_size, _threshold(params), ("dets",))


def _yolox_decoder(params: Node, input_size: tuple[int, int]) -> YoloxDecoder:
    return YoloxDecoder(input_size, _threshold(params))


def _threshold(params: Node) -> float:
    """`score_thr`, or `conf_thr` of YOLOv3, as MMDeploy's client reads them."""
    key = "conf_thr" if params.has("conf_thr") else "score_thr"
    threshold = params.get(key, float, 0.0)
    if not 0 <= threshold < 1:
        raise params.at(key).error("a number from 0 to below 1")
    return float(threshold)


# ---- modify this table to add a component of detectors -------------------------------------
# fmt: off
BOX_COMPONENTS: Mapping[str, Callable[[Node, tuple[int, int]], Decoder]] = {
    "ResizeBBox":         _boxes_decoder,
    "ResizeInstanceMask": _boxes_decoder,
    "UnlabeledBoxes":     _unlabeled_decoder,
    "YOLOXBoxes":         _yolox_decoder,
}
# fmt: on
# --------------------------------------------------------------------------------------------


def compile_box_decoder(component: str, params: Node, input_size: tuple[int, int]) -> Decoder:
    """The decoder that the post-processing task of a detection folder asks for.

    A BadInputError names an unknown component or parameter.
    """
    if component not in BOX_COMPONENTS:
        path = params.path.removesuffix(".params") + ".component"
        raise Node(component, params.file, path).error(f"one of {', '.join(BOX_COMPONENTS)}")
    return BOX_COMPONENTS[component](params, input_size)
