"""Checkpoints of a distillation: the weights are those that mmpose's pth_transfer.py writes."""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.tiny_models import TinyModel
from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.table import mmpose_files

FIRST = "model = dict(student_cfg='s.py', type='DWPoseDistiller')"
SECOND = "model = dict(student_cfg='s.py', two_dis=True, type='DWPoseDistiller')"
NAMES = ("backbone.stem.weight", "neck.up.weight", "head.fc.weight")


def distilled(path: Path, cfg: str = "", teacher_size: int = 2) -> Path:
    """A checkpoint in which every tensor has a value of its own."""
    tensors = {f"student.{name}": torch.full((2,), float(i)) for i, name in enumerate(NAMES)}
    tensors |= {
        f"teacher.{name}": torch.full((teacher_size,), 10.0 + i) for i, name in enumerate(NAMES)
    }
    tensors["distill_losses.loss_fea.align.weight"] = torch.ones(3)
    torch.save({"state_dict": tensors, "meta": {"cfg": cfg} if cfg else {}}, path)
    return path


@pytest.mark.parametrize(
    ("cfg", "teacher_size", "two_dis", "expected"),
    [
        (FIRST, 2, False, [0, 1, 2]),
        (FIRST, 4, False, [0, 1, 2]),
        ("", 4, False, [0, 1, 2]),  # the teacher is larger, as in the first stage
        (SECOND, 2, True, [10, 11, 2]),
        (SECOND.replace("=True", "=False"), 2, False, [0, 1, 2]),
    ],
)
def test_the_student_is_what_mmposes_own_script_writes(
    cfg: str, teacher_size: int, two_dis: bool, expected: list[int], tmp_path: Path
) -> None:
    path = distilled(tmp_path / "d.pth", cfg, teacher_size)
    found = load_checkpoint(path).state_dict
    assert [float(found[name][0]) for name in NAMES] == expected
    script: Any = runpy.run_path(str(mmpose_files() / "tools" / "misc" / "pth_transfer.py"))
    options = {"dis_path": path, "output_path": tmp_path / "s.pth", "two_dis": two_dis}
    script["change_model"](argparse.Namespace(**options))
    written = torch.load(tmp_path / "s.pth")["state_dict"]
    assert list(found) == list(written)
    assert all(torch.equal(found[key], written[key]) for key in written)


def test_what_can_be_of_either_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"which stage .*pth_transfer\.py, with --two_dis"):
        load_checkpoint(distilled(tmp_path / "d.pth"))


def test_a_student_loads_into_its_own_config(
    tmp_path: Path, tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny = tiny_model("rtmpose_t")
    whole = build_model(load_model_config(tiny.config), tiny.checkpoint)
    outer = torch.nn.ModuleDict({"student": whole, "teacher": torch.nn.Linear(2, 2)})
    torch.save({"state_dict": outer.state_dict()}, tmp_path / "d.pth")  # with torch's versions
    assert "student.head" in vars(outer.state_dict())["_metadata"]
    student = build_model(load_model_config(tiny.config), tmp_path / "d.pth")
    weights = whole.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in student.state_dict().items())
    loaded = load_checkpoint(tmp_path / "d.pth").state_dict
    assert vars(loaded)["_metadata"].keys() == vars(weights)["_metadata"].keys()
