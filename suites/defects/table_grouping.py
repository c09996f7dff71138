"""Defects of models whose maps the host puts together to people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from poseconform.planted.defects import Defect, Plant, Site
from suites.defects import graph_edits as g
from suites.defects.planting import Graph, folder, graph, params, set_initializer

DEKR = Site(("dekr",))
EMBEDDING = Site(("associative-embedding",))
CID = Site(("cid",))
KEYPOINTS = 17


def scaled(name: str, factor: float) -> Plant:
    """An output of the graph times a factor."""

    def edit(owner: Graph) -> None:
        set_initializer(owner, "factor", np.array(factor, np.float32))
        g.on_output(owner, name, g.through("Mul", "factor"))

    return graph(edit)


def reordered(name: str, channels: list[int]) -> Plant:
    """An output of the graph with its channels in another order."""

    def edit(owner: Graph) -> None:
        set_initializer(owner, "order", np.array(channels, np.int64))
        g.on_output(owner, name, g.through("Gather", "order", axis=1))

    return graph(edit)


def weights_of_the_host(name: str, factor: float) -> Plant:
    """An array of the file of the host's weights times a factor."""

    def edit(copy: Path) -> None:
        with np.load(copy / "end2end.npz") as file:
            arrays = dict(file)
        np.savez(copy / "end2end.npz", **arrays | {name: arrays[name] * np.float32(factor)})

    return folder(edit)


_X_AND_Y = [channel ^ 1 for channel in range(2 * KEYPOINTS)]
_SWAPPED = [1, 0, *range(2, KEYPOINTS)]

# ---- modify this table to plant another defect in such a model ---------------------------------
# fmt: off
GROUPING: tuple[Defect, ...] = (
    Defect("displacements in px in place of cells", "the stride of the maps forgotten",
           "graph", "tensors", DEKR, scaled("displacements", 4.0)),
    Defect("displacements with the sign of MMPose 0.x", "a checkpoint that was not converted",
           "graph", "tensors", DEKR, scaled("displacements", -1.0)),
    Defect("displacements with x and y swapped", "rows and columns confused",
           "graph", "tensors", DEKR, reordered("displacements", _X_AND_Y)),
    Defect("different people taken for one", "nms_dist_thr in px of another size",
           "post-processing", "client", DEKR, params(nms_dist_thr=5.0)),
    Defect("poses that are not scored again", "the rescore net left out",
           "post-processing", "client", DEKR, params(weights=None)),
    Defect("tags of two keypoints swapped", "flip pairs applied to the tags",
           "graph", "tensors", EMBEDDING, reordered("tags", _SWAPPED)),
    Defect("tags that are not told apart", "a wrong scale of the tags",
           "graph", "tensors", EMBEDDING, scaled("tags", 0.01)),
    Defect("maps that are not resized", "restore_heatmap_size forgotten",
           "post-processing", "client", EMBEDDING, params(restore_heatmap_size=False)),
    Defect("keypoints without the shift of the center", "a default in place of the codec's",
           "post-processing", "client", EMBEDDING, params(decode_center_shift=0.0)),
    Defect("attentions exchanged", "two outputs of one shape confused",
           "graph", "tensors", CID, graph(lambda owner: exchanged(owner, "channel", "spatial"))),
    Defect("a mask of the other sign", "weights of the host that were not written anew",
           "files", "client", CID, weights_of_the_host("mask_weight", -1.0)),
    Defect("the lowest people kept", "a score_threshold of some other config",
           "post-processing", "client", CID, params(score_threshold=0.9)),
)
# fmt: on
# ------------------------------------------------------------------------------------------------


def exchanged(owner: Graph, first: str, second: str) -> None:
    """Two outputs of the graph for each other; an `Identity` would be found by itself."""
    set_initializer(owner, "one", np.array(1.0, np.float32))
    for name in (first, second):
        g.on_output(owner, name, lambda _inner, _name: [])
    owner.node.extend(
        [
            *g.through("Mul", "one")(f"{first}/good", second),
            *g.through("Mul", "one")(f"{second}/good", first),
        ]
    )
