"""Commands of `sh` blocks that the tests do not run, and why; what they run instead is a check.

A row matches the beginning of a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """Why a command is not run."""

    CAMERA = "needs a camera or a stream"
    CHECKOUT = "changes files of the checkout"
    DATA = "needs a data set or results that are not in the repository"
    ELSEWHERE = "suites/inference/test_python_api.py runs it, with the Python that follows"
    GPU = "needs a GPU"
    INSTALL = "installs packages, or a hook of git, on the machine"
    LONG = "judges whole tables: CI has a job for it, or it takes as long as one"


@dataclass(frozen=True)
class NotRun:
    """A row: the beginning of commands and the reason."""

    begins: str
    reason: Reason


# ---- modify this table to add a command that is not run -------------------------------------
# fmt: off
NOT_RUN: Sequence[NotRun] = (
    NotRun("bash .ci/run",                                         Reason.LONG),
    NotRun("pip install",                                          Reason.INSTALL),
    NotRun("posedeploy convert configs/mmpose",                    Reason.ELSEWHERE),
    NotRun("posedeploy convert pose-detection_simcc_tensorrt",     Reason.GPU),
    NotRun("posedeploy infer work/rtmo_s 0",                       Reason.CAMERA),
    NotRun("posedeploy infer work/rtmpose_s photo.jpg --detector", Reason.LONG),
    NotRun("posedeploy infer work/rtmpose_s rtsp://",              Reason.CAMERA),
    NotRun("posedeploy infer work/rtmpose_s walk.mp4",             Reason.LONG),
    NotRun("posedeploy test --deploy-config",                      Reason.LONG),
    NotRun("posedeploy test --exporter",                           Reason.LONG),
    NotRun("posedeploy test --model-config my.py",                 Reason.LONG),
    NotRun("posedeploy test --model-config center_of_mass",        Reason.LONG),
    NotRun("posedeploy test --models",                             Reason.LONG),
    NotRun("posedeploy report diff ours",                          Reason.LONG),
    NotRun("posedeploy test --sdk-model",                          Reason.LONG),
    NotRun("posedeploy test -m onnxruntime",                       Reason.LONG),
    NotRun("posedeploy test -m tensorrt",                          Reason.GPU),
    NotRun("pre-commit install",                                   Reason.INSTALL),
    NotRun("pytest suites --model-config",                         Reason.LONG),
    NotRun("pytest suites --models",                               Reason.LONG),
    NotRun("pytest suites -m onnxruntime",                         Reason.LONG),
    NotRun("pytest suites -m tensorrt",                            Reason.GPU),
    NotRun("pytest suites/accuracy --dataset coco",                Reason.DATA),
    NotRun("python -m pip install",                                Reason.INSTALL),
    NotRun("python -m poseconform.report baseline",                Reason.CHECKOUT),
    NotRun("python -m poseconform.report table",                   Reason.CHECKOUT),
    NotRun("python -m suites.benchmarks",                          Reason.LONG),
    NotRun("python -m tox",                                        Reason.LONG),
    NotRun("python suites/defects/false_alarms.py",                Reason.LONG),
    NotRun("uv pip install",                                       Reason.INSTALL),
)
# fmt: on


def why_not_run(command: str) -> NotRun | None:
    """The row of a command; None if it is run."""
    return next((row for row in NOT_RUN if command.startswith(row.begins)), None)
