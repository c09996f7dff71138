"""Defects planted in graphs and folders of models that output coordinates."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from poseconform.planted.defects import Defect, Site
from suites.defects import graph_edits as g
from suites.defects.graph_edits import Edit
from suites.defects.planting import Graph, graph, params, set_initializer

COORDINATES, SIGMAS = ("reg_res18", "rle_res18"), ("rle_res18",)
INTEGRAL = ("dsnt_res18", "dsnt_res18_debias")
DECODED = Site(SIGMAS, keypoints=True)


def axes_swapped(owner: Graph) -> None:
    """y, x in place of x, y; sigmas stay."""
    columns = owner.output[0].type.tensor_type.shape.dim[2].dim_value
    set_initializer(owner, "swapped", np.asarray([1, 0, 2, 3][:columns], np.int64))
    g.on_output(owner, "output", g.through("Gather", "swapped", axis=2))


def without_sigmas(owner: Graph) -> None:
    """The first two numbers of each keypoint alone."""
    set_initializer(owner, "coordinates", np.asarray([0, 1], np.int64))
    g.on_output(owner, "output", g.through("Gather", "coordinates", axis=2))
    owner.output[0].type.tensor_type.shape.dim[2].dim_value = 2


def scores_of_one(owner: Graph) -> None:
    """0 times a sigma subtracted from 1."""
    set_initializer(owner, "nothing", np.zeros(1, np.float32))
    set_initializer(owner, "one", np.ones(1, np.float32))
    g.on_output(owner, "scores", lambda a, b: [
        helper.make_node("Mul", [a, "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], [b]),
    ])  # fmt: skip


def positions(first: float, ends: int) -> Edit:
    """Other positions of n cells than i / n: (i + first) / (n - ends)."""

    def edit(owner: Graph) -> None:
        found = 0
        for tensor in owner.initializer:
            value = numpy_helper.to_array(tensor)
            cells = np.arange(value.size)
            if value.size > 2 and np.allclose(value.ravel(), cells / value.size):
                other = ((cells + first) / (value.size - ends)).astype(value.dtype)
                set_initializer(owner, tensor.name, other.reshape(value.shape))
                found += 1
        assert found == 2, f"positions along {found} axes"

    return edit


# ---- modify this table to plant another defect in a regression model ---------------------------
# fmt: off
REGRESSION: tuple[Defect, ...] = (
    Defect("x and y of coordinates swapped", "rows and columns confused",
           "graph", "tensors", Site(COORDINATES), graph(axes_swapped)),
    Defect("sigmas left out of the graph", "a client of MMDeploy's reads two numbers a keypoint",
           "graph", "tensors", Site(SIGMAS), graph(without_sigmas)),
    Defect("sigmas ignored: every score is 1", "RegressionLabel's score for two numbers",
           "graph", "finite", DECODED, graph(scores_of_one)),
    Defect("sigmas by a piecewise linear sigmoid", "a backend's approximation",
           "graph", "tensors", DECODED, graph(g.replace_kind("Sigmoid", "HardSigmoid"))),
    Defect("an integral's positions from 0 to 1", "linspace, which has both ends",
           "graph", "tensors", Site(INTEGRAL), graph(positions(0.0, 1))),
    Defect("an integral's positions at the cells' centers", "another convention of pixels",
           "graph", "tensors", Site(INTEGRAL), graph(positions(0.5, 0))),
    Defect("the decoder's input_size as (h, w)", "the order of a tensor's shape",
           "post-processing", "client", Site(("reg_res18",)), params(input_size=[96, 64])),
)
# fmt: on
