"""Defects planted in graphs of top-down models that hold the decoding."""

from __future__ import annotations

import numpy as np
from onnx import helper

from poseconform.planted.defects import Defect, Site
from suites.defects import graph_edits as g
from suites.defects.planting import Graph, graph, set_initializer

SIMCC = Site(("rtmpose_t", "simcc_mobilenetv2"), keypoints=True)
# The flows that these are planted in: no other suite needs them, so they are not listed.
DEPLOY_CONFIGS = (
    "pose-detection_onnxruntime-keypoints_dynamic",
    "pose-detection_regression_onnxruntime-keypoints_dynamic",
    "pose-detection_simcc_onnxruntime-keypoints_dynamic",
)


def axes_swapped(owner: Graph) -> None:
    set_initializer(owner, "swapped", np.array([1, 0], np.int64))
    g.on_output(owner, "keypoints", g.through("Gather", "swapped", axis=2))


def bins_for_px(owner: Graph) -> None:
    """The division by the split ratio of 2 undone."""
    set_initializer(owner, "ratio", np.array(2, np.float32))
    g.on_output(owner, "keypoints", g.through("Mul", "ratio"))


def lost_step(owner: Graph) -> None:
    """A quarter of a cell, which is 4 px wide, to no neighbor: all signs are 0."""
    for node in g.nodes(owner, "Sign"):
        node.CopyFrom(helper.make_node("Sub", [node.input[0]] * 2, node.output))


def score_of_x(owner: Graph) -> None:
    """The maximum along x alone, where it is the lesser one of both axes."""
    (lesser,) = [n for n in g.nodes(owner, "Min") if "scores" in n.output]
    del lesser.input[1:]


# ---- modify this table to plant another defect in such a graph ---------------------------------
# fmt: off
KEYPOINTS: tuple[Defect, ...] = (
    Defect("keypoints with x and y swapped", "rows and columns of a peak confused",
           "graph", "keypoints", SIMCC, graph(axes_swapped)),
    Defect("keypoints in bins in place of px", "the split ratio forgotten",
           "graph", "keypoints", SIMCC, graph(bins_for_px)),
    Defect("scores of one axis alone", "the lesser of both maxima forgotten",
           "graph", "tensors", SIMCC, graph(score_of_x)),
    Defect("keypoints of whole cells", "the step to the larger neighbor forgotten",
           "graph", "keypoints", Site(("litehrnet_18",), keypoints=True), graph(lost_step)),
)
# fmt: on
