"""Defects of SDK model folders that somebody else wrote, each with the stage that must name it.

They are planted in folders of tiny models, without the toolchain and without what `detail.json`
knows of a conversion: whoever judges such a folder has its files alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suites.defects import detection_edits as d
from suites.defects import graph_edits as g
from suites.defects.planting import (
    Array,
    FolderEdit,
    graph_edit,
    params_edit,
    step_edit,
    task_edit,
)
from suites.defects.table_folder import swap_colors, unit_range

RTMPOSE, YOLOX = "rtmpose_t", "yoloxpose_tiny"  # of `fixtures.tiny_models`
REFUSED = "refused"  # bad input that names the field, before anything is compared


@dataclass(frozen=True)
class FolderDefect:
    """One row: what is wrong in a folder of a tiny model, and where that shows."""

    name: str
    model: str
    stage: str  # the first that must fail
    words: str  # of its message, that name what is wrong; regular expression
    edit: FolderEdit
    compared: str = ""  # the stage that `posedeploy compare` names where it is another, or REFUSED


def stale(weights: Array) -> Array:
    """As another epoch's: each weight 5 % of their spread off."""
    noise = np.random.default_rng(0).standard_normal(weights.shape)
    return np.asarray(weights + 0.05 * weights.std() * noise)


# ---- modify this table to plant another defect in a folder that somebody brings ---------------
# fmt: off
FOLDER_DEFECTS: tuple[FolderDefect, ...] = (
    FolderDefect("a box with another aspect ratio than the input", RTMPOSE, "sdk",
                 r"image_size: found \[64, 96\]; expected \[96, 64\]",
                 step_edit("TopDownGetBboxCenterScale", image_size=[96, 64]), REFUSED),
    FolderDefect("an overflow of fp16", RTMPOSE, "numeric", "exceeds the allowed",
                 graph_edit(g.overflowing_norm), "run"),
    FolderDefect("another split ratio", RTMPOSE, "sdk", r"simcc_x.*expected .*\[N, K, 64\]",
                 params_edit(simcc_split_ratio=1.0), "contract"),
    FolderDefect("batch folded into a constant", RTMPOSE, "run", "Reshape|batch",
                 graph_edit(g.freeze_reshapes)),
    FolderDefect("boxes not clipped", YOLOX, "numeric", "boxes not clipped to the input",
                 graph_edit(d.no_clipping)),
    FolderDefect("colors in the other order", RTMPOSE, "sdk", "px off", task_edit(0, swap_colors)),
    FolderDefect("keypoints in another order", RTMPOSE, "numeric", "simcc_x",
                 graph_edit(g.permute_keypoints)),
    FolderDefect("mean and std for images in 0..1", RTMPOSE, "sdk", "px off",
                 task_edit(0, unit_range), "contract"),
    FolderDefect("outputs swapped", RTMPOSE, "numeric",
                 r"simcc_x: shape \[17, 192\]", graph_edit(g.swap_outputs), "contract"),
    FolderDefect("rows below the threshold as padding", YOLOX, "numeric",
                 "rows below score_thr: ", graph_edit(d.threshold("score", 0.01))),
    FolderDefect("stale weights", RTMPOSE, "numeric", "exceeds the allowed",
                 graph_edit(g.weights(stale, every_one=True))),
    FolderDefect("the input's size as (h, w)", RTMPOSE, "sdk", r"\[96, 64\]|\(96, 64\)",
                 step_edit("TopDownAffine", image_size=[96, 64]), REFUSED),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
