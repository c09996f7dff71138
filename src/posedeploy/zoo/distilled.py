"""The student's weights in a checkpoint of mmpose's `DWPoseDistiller`.

The keys are those of mmpose 1.3.2's `tools/misc/pth_transfer.py`, which writes the student alone.
In the second stage of distillation only a new head is trained, on the features of the teacher,
which has the student's architecture: backbone and neck are then the teacher's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from posedeploy.errors import BadInputError

FIRST, SECOND = ("student.",), ("teacher.backbone.", "teacher.neck.", "student.head.")
_SECOND_STAGE = re.compile(r"\btwo_dis[\"']?\s*[=:]\s*True\b")


def student_weights(
    path: Path, state_dict: dict[str, Tensor], meta: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The student's weights where there is a student in a state dict, else the state dict.

    Raises:
        BadInputError: It can be of either stage: teacher and student have one architecture, and
            the checkpoint's `meta` has no config that says it.
    """
    shapes = {
        role: {k.partition(".")[2]: t.shape for k, t in state_dict.items() if k.startswith(role)}
        for role in ("student.", "teacher.")
    }
    if not shapes["student."]:
        return state_dict
    config = str(meta.get("cfg", ""))  # the text of the whole config, of checkpoints of mmengine
    if "student_cfg" not in config and shapes["student."] == shapes["teacher."]:
        raise BadInputError(
            f"checkpoint {path}", "a student and a teacher of one architecture, and no config "
            "that says which stage of distillation it is of",
            "the weights of the student alone",
            "Write them with mmpose's tools/misc/pth_transfer.py, with --two_dis if it is of the "
            "second stage.",
        )  # fmt: skip
    prefixes = SECOND if _SECOND_STAGE.search(config) else FIRST
    kept = {k.partition(".")[2]: t for k, t in state_dict.items() if k.startswith(prefixes)}
    versions = getattr(state_dict, "_metadata", None)
    if versions is None:
        return kept
    student = type(state_dict)(kept)
    own = {k.partition(".")[2]: v for k, v in versions.items() if f"{k}.".startswith(prefixes)}
    vars(student)["_metadata"] = type(versions)(own)
    return student
