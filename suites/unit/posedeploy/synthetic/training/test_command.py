"""`python -m posedeploy.synthetic.train`: weights, a log, and errors for a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posedeploy.errors import BadInputError
from posedeploy.synthetic.training.command import main
from posedeploy.synthetic.training.recipes import RECIPES, recipe_of
from posedeploy.zoo.table import model_row

FEW = ("--batch", "1", "--figures", "2", "--save-every", "1")


def test_a_training_and_its_continuation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no line is wrapped, however long the path is
    out = tmp_path / "out"
    assert main(["rtmpose_t", "--out", str(out), "--steps", "2", *FEW]) == 0
    printed = capsys.readouterr().out
    assert "rtmpose_t step 2 of 2: loss" in printed
    assert "left" in printed
    assert f"{out / 'rtmpose_t.pth'}: 1" in printed  # 13 MB
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 2
    assert {"pck", "mean_px", "median_px", "loss", "cpu_seconds"} <= set(lines[-1])
    assert main(["rtmpose_t", "--out", str(out), "--steps", "3", "--resume", *FEW]) == 2
    assert "the options that it was started with" in " ".join(capsys.readouterr().err.split())


def test_a_model_without_a_recipe_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rtmpose_s", "--out", str(tmp_path)]) == 2
    assert "no recipe for it" in capsys.readouterr().err
    assert main(["rtmpose_x", "--out", str(tmp_path)]) == 2
    with pytest.raises(BadInputError, match="Did you mean rtmpose_t"):
        recipe_of("rtmpose_s")


def test_every_recipe_is_of_a_model_of_the_zoo() -> None:
    for name, recipe in RECIPES.items():
        assert model_row(name).name == name
        assert recipe.steps > recipe.warmup
        assert all(0 <= phase.start < 1 for phase in recipe.phases)
