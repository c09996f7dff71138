"""Stored weights: 16 bits in the file, 32 in the checkpoint, and the log of the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.synthetic.calibration import image_batch
from posedeploy.synthetic.layers import layer_facts, layer_failures
from posedeploy.synthetic.trained import (
    main,
    stored_backbone,
    stored_facts,
    trained_content,
    trained_file,
    weights_folder,
)
from posedeploy.synthetic.weights import checkpoint_for
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.table import config_path, model_row

LOG = '{"step": 50, "cpu_seconds": 40.0}\n{"step": 100, "cpu_seconds": 90.5, "pck": 0.99}\n'


def training(folder: Path, state: dict[str, Any], name: str = "rtmpose_t") -> Path:
    """A folder as the trainer leaves it."""
    folder.mkdir()
    dataset = {"dataset_name": "drawn", "sigmas": np.ones(17)}
    meta = {"posedeploy": {"weights": "trained"}, "dataset_meta": dataset}
    torch.save({"state_dict": state, "meta": meta}, folder / f"{name}.pth")
    (folder / "log.jsonl").write_text(LOG)
    return folder


def test_weights_come_back_with_noise_below_the_last_bit_of_float16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spread = torch.logspace(-9, 4, 40000).reshape(200, 200) * torch.randn(200, 200).sign()
    spread[0, :10] = 0.0
    state = {
        "conv.weight": spread, "conv.bias": torch.randn(7),
        "bn.running_var": torch.full((3,), 1e-9), "bn.num_batches_tracked": torch.tensor(5),
    }  # fmt: skip
    stored = tmp_path / "weights"
    assert main([str(training(tmp_path / "t", state))], stored) == 0
    path = stored / "rtmpose_t.pth"
    half = torch.load(path, weights_only=True)["state_dict"]
    assert half["conv.weight"].dtype == torch.float16
    content = trained_content(path)
    found = content["state_dict"]
    for name in ("conv.bias", "bn.running_var", "bn.num_batches_tracked"):
        assert torch.equal(found[name], state[name])
    weight = found["conv.weight"]
    assert weight.dtype == torch.float32
    assert (weight[0, :10] == 0).all()
    step = torch.maximum(spread.abs() * 2.0**-10, torch.tensor(2.0**-24))
    assert ((weight - spread).abs() <= step).all()
    same_half = (weight.half() == half["conv.weight"]).float().mean()
    assert same_half > 0.99  # the noise stays within the step that was rounded to
    changed = (weight != half["conv.weight"].float())[half["conv.weight"] != 0]
    assert changed.float().mean() > 0.99
    again = trained_content(path)["state_dict"]["conv.weight"]
    assert torch.equal(again, weight)
    assert content["meta"]["posedeploy"]["weights"] == "trained"
    torch.save(content, tmp_path / "again.pth")
    assert load_checkpoint(tmp_path / "again.pth").meta == content["meta"]
    assert stored_facts(path)["cpu_seconds"] == 90.5


def test_weights_belong_to_the_zoos_own_config(tmp_path: Path) -> None:
    assert main([str(training(tmp_path / "t", {"a": torch.ones(2, 2)}))], tmp_path / "w") == 0
    config = load_model_config(config_path(model_row("rtmpose_t")))
    assert trained_file(config, tmp_path / "w") == tmp_path / "w" / "rtmpose_t.pth"
    other = load_model_config(config_path(model_row("rtmpose_s")))
    assert trained_file(other, tmp_path / "w") is None
    assert trained_file(config, tmp_path / "absent") is None


def test_a_backbone_is_that_of_stored_weights(tmp_path: Path) -> None:
    state = {"backbone.stem.bias": torch.ones(3), "head.bias": torch.zeros(3)}
    assert main([str(training(tmp_path / "t", state, "yoloxpose_tiny"))], tmp_path / "w") == 0
    found = stored_backbone("yoloxpose_tiny", tmp_path / "w")
    assert found.keys() == {"stem.bias"}
    with pytest.raises(BadInputError, match="no weights of rtmpose_t"):
        stored_backbone("rtmpose_t", tmp_path / "w")


@pytest.mark.parametrize(("value", "message"), [
    (7e4, "conv.weight: found a value of 70000; expected values that float16 holds"),
    (float("nan"), "conv.weight are not finite"),
])  # fmt: skip
def test_a_weight_that_float16_cannot_hold_is_refused(
    value: float, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"conv.weight": torch.tensor([[1.0, value]])}
    assert main([str(training(tmp_path / "t", state))], tmp_path / "w") == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "w").glob("*"))


def test_a_folder_that_is_no_training_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)], tmp_path / "w") == 2
    assert "no weights of a model beside a log.jsonl" in capsys.readouterr().err


def test_the_log_is_stored_with_the_weights(tmp_path: Path) -> None:
    assert main([str(training(tmp_path / "t", {"a": torch.ones(2, 2)}))], tmp_path / "w") == 0
    lines = (tmp_path / "w" / "rtmpose_t.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50, 100]


@pytest.mark.parametrize(
    "path", sorted(weights_folder().glob("*.pth")), ids=lambda path: path.stem
)
def test_layers_of_stored_weights_are_admitted(path: Path, tmp_path: Path) -> None:
    """Others would make a backend look worse, or better, than it is."""
    config = load_model_config(config_path(model_row(path.stem)))
    checkpoint = checkpoint_for(config, tmp_path, path.stem, kind="trained")
    facts = layer_facts(build_model(config, checkpoint), image_batch(config, 2, seed=7))
    assert len(facts) > 10
    assert layer_failures(facts) == ()
