"""The model that a config of mmpose's distillation (DWPose) deploys: its student."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from posedeploy.config.files import find_beside, read_config, wheels_file
from posedeploy.errors import BadInputError

STUDENT = "student_cfg"  # of mmpose's DWPoseDistiller: the path of a config
_PREPROCESSOR = "data_preprocessor"


def with_student(path: Path, config: Any) -> Any:
    """A config (of the file `path`) with the student in place of the model that distills it.

    Other configs are returned as they are. As in mmpose, images are prepared by the pipeline and
    the data preprocessor of the distillation's own config.

    Raises:
        BadInputError: The student's config is not there, or has no model.
    """
    distiller = config.get("model")
    if not isinstance(distiller, dict) or STUDENT not in distiller:
        return config
    name, subject = distiller[STUDENT], f"{path}: model.{STUDENT}"
    found = _find(path, name) if isinstance(name, str) else None
    if found is None:
        raise BadInputError(
            subject, f"{reprlib.repr(name)}, which is no file",
            "the path of the student's config, as mmpose names its own: configs/…",
            f"Correct it: it counts from {Path.cwd()}, or from the folders around the config. Or "
            "give the student's config in place of this one.",
        )  # fmt: skip
    model = read_config(found, "model config").get("model")
    if not isinstance(model, dict) or STUDENT in model:
        raise BadInputError(subject, str(found), "the config of one model", "Correct it.")
    student = config.copy()
    student["model"] = model
    if distiller.get(_PREPROCESSOR):
        student["model"][_PREPROCESSOR] = distiller[_PREPROCESSOR]
    return student


def _find(path: Path, name: str) -> Path | None:
    return find_beside(path, name) or wheels_file(name)
