"""Kinds of heads: one row a kind. Everything that differs between kinds derives from its row.

This module imports nothing, so that every room can read it; code is named by dotted paths and
imported on use.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Output:
    """One output of a graph.

    Attributes:
        name: Name in the graph and in `pipeline.json`.
        axes: What each axis is: 'N' batch, 'K' keypoints, 'M' people, 'P' priors, 'H', 'W', 'Wx',
            'Wy' bins, or a fixed size.
    """

    name: str
    axes: tuple[str | int, ...]


@dataclass(frozen=True)
class HeadSpec:
    """One kind of head.

    Attributes:
        kind: Name of the kind.
        word: The word for it in the name of a deploy config; '' for heatmap.
        mmpose_heads: MMPose head types of this kind.
        top_down: True if the model takes one person's crop, False if it takes the whole image and
            finds the people itself.
        outputs: Outputs of the whole graph.
    """

    kind: str
    word: str
    mmpose_heads: tuple[str, ...]
    top_down: bool
    outputs: tuple[Output, ...]


_DETECTIONS = (Output("dets", ("N", "M", 5)), Output("keypoints", ("N", "M", "K", 3)))

# ---- modify this table to add a kind of head -----------------------------------------------
# fmt: off
HEADS: tuple[HeadSpec, ...] = (
    HeadSpec("heatmap", "", ("CPMHead", "HeatmapHead", "MSPNHead"), True,
             (Output("output", ("N", "K", "H", "W")),)),
    HeadSpec("rtmo", "rtmo", ("RTMOHead",), False, _DETECTIONS),
    HeadSpec("simcc", "simcc", ("RTMCCHead", "SimCCHead"), True,
             (Output("simcc_x", ("N", "K", "Wx")), Output("simcc_y", ("N", "K", "Wy")))),
    HeadSpec("yolox-pose", "yolox-pose", ("YOLOXPoseHead",), False, _DETECTIONS),
)
# fmt: on
# --------------------------------------------------------------------------------------------


def head_words() -> tuple[str, ...]:
    """The words of all kinds in the names of deploy configs, '' among them."""
    return tuple(head.word for head in HEADS)
