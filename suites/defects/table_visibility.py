"""Defects planted in graphs that output how likely each keypoint is visible."""

from __future__ import annotations

import numpy as np

from poseconform.planted.defects import Defect, Site
from suites.defects import graph_edits as g
from suites.defects.planting import Graph, graph, set_initializer

VISIBLE = Site(("vis_res18",))


def sigmoid_twice(owner: Graph) -> None:
    """What is a probability already is taken for a logit."""
    g.on_output(owner, "visibility", g.through("Sigmoid"))


def other_keypoints(owner: Graph) -> None:
    """Those of the keypoints in reverse order."""
    count = owner.output[0].type.tensor_type.shape.dim[1].dim_value
    set_initializer(owner, "reversed", np.arange(count)[::-1].astype(np.int64))
    g.on_output(owner, "visibility", g.through("Gather", "reversed", axis=1))


# ---- modify this table to plant another defect in visibilities ---------------------------------
VISIBILITY: tuple[Defect, ...] = (
    Defect("visibilities through a sigmoid twice", "VisPredictHead's `use_sigmoid` ignored",
           "graph", "tensors", VISIBLE, graph(sigmoid_twice)),
    Defect("visibilities of other keypoints", "an order of keypoints of one's own",
           "graph", "tensors", VISIBLE, graph(other_keypoints)),
)  # fmt: skip
