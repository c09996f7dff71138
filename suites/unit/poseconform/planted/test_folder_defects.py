"""Defects in folders that somebody else wrote are named at the stage where they show."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.mmdeploy_folders import mmdeploy_folder
from fixtures.tiny_judge import TinyJudge
from poseconform.checks.table import CHECKS
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.planted.defects import first_failure
from poseconform.subject.folders import FOLDER_SUBJECT, read_flow
from posedeploy.apis.artifacts import StageVerdict, compare_artifact
from posedeploy.errors import BadInputError
from suites.defects.folders import FOLDER_DEFECTS, REFUSED, RTMPOSE, YOLOX, FolderDefect

Brought = Callable[[str, Path], Path]  # of a model's name and a place


@pytest.fixture
def brought(tiny_judge: TinyJudge) -> Brought:
    """A good folder: of RTMPose with JSON files by hand, of YOLOX-Pose without `detail.json`."""

    def make(name: str, place: Path) -> Path:
        ours = tiny_judge.judge.conversion(tiny_judge.cell(name)).folder
        if name == RTMPOSE:
            return mmdeploy_folder(ours, place)
        return Path(shutil.copytree(ours, place, ignore=shutil.ignore_patterns("detail.json")))

    return make


def judged(tiny_judge: TinyJudge, name: str, folder: Path) -> tuple[Judge, Cell]:
    """What `posedeploy test --sdk-model` judges a folder with."""
    judge, model = tiny_judge.of(FOLDER_SUBJECT), tiny_judge.cell(name).model
    return judge, Cell(model, read_flow(folder, model))


def compared(tiny_judge: TinyJudge, name: str, folder: Path) -> list[StageVerdict]:
    """The stages at which `posedeploy compare` says that a folder differs."""
    tiny = tiny_judge.models(name)
    done = compare_artifact(folder, tiny.config, tiny.checkpoint)
    return [stage for stage in done.stages if not stage.passed]


@pytest.mark.parametrize("name", [RTMPOSE, YOLOX])
def test_the_folders_that_defects_are_planted_in_are_good(
    tiny_judge: TinyJudge, brought: Brought, tmp_path: Path, name: str
) -> None:
    folder = brought(name, tmp_path / "sdk")
    assert first_failure(*judged(tiny_judge, name, folder)) is None
    assert compared(tiny_judge, name, folder) == []


@pytest.mark.parametrize("defect", FOLDER_DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_is_named_at_its_stage(
    tiny_judge: TinyJudge, brought: Brought, tmp_path: Path, defect: FolderDefect
) -> None:
    folder = brought(defect.model, tmp_path / "sdk")
    defect.edit(folder)
    caught = first_failure(*judged(tiny_judge, defect.model, folder))
    assert caught is not None, "no check failed"
    assert CHECKS[caught.check].stage == defect.stage, caught
    assert re.search(defect.words, caught.message), caught.message


@pytest.mark.parametrize("defect", FOLDER_DEFECTS, ids=lambda defect: defect.name)
def test_compare_names_it_at_its_stage(
    tiny_judge: TinyJudge, brought: Brought, tmp_path: Path, defect: FolderDefect
) -> None:
    folder = brought(defect.model, tmp_path / "sdk")
    defect.edit(folder)
    if defect.compared == REFUSED:
        with pytest.raises(BadInputError, match="image_size: found"):
            compared(tiny_judge, defect.model, folder)
        return
    first = compared(tiny_judge, defect.model, folder)[0]
    assert first.stage == (defect.compared or defect.stage), first
