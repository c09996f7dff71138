"""Checkpoints: what real ones hold is read, what could run code is refused."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from posedeploy.errors import BadInputError
from posedeploy.zoo.checkpoints import Checkpoint, apply_checkpoint, load_checkpoint

Z = "_use_new_zipfile_serialization"


def mmengine_content() -> dict[str, Any]:
    """What MMEngine's CheckpointHook saves, in small."""
    loss = HistoryBuffer()
    loss.update(3.0)
    return {
        "meta": {
            "epoch": 1,
            "mmengine_version": "0.10.7",
            "dataset_meta": {
                "dataset_name": "coco",
                "sigmas": np.full(17, 0.05, np.float32),
                "keypoint_colors": np.zeros((17, 3), np.uint8),
                "num_keypoints": np.int64(17),
            },
        },
        "state_dict": OrderedDict(weight=torch.ones(2, 3), bias=torch.zeros(2)),
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": loss}),
            "runtime_info": OrderedDict(epoch=1),
            "resumed_keys": OrderedDict({"train/loss": True}),
        },
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3}]},
        "param_schedulers": [{"last_step": 1}],
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_mmengine_checkpoint_is_read(tmp_path: Path, zipped: bool) -> None:
    torch.save(mmengine_content(), tmp_path / "a.pth", **{Z: zipped})
    checkpoint = load_checkpoint(tmp_path / "a.pth")
    assert list(checkpoint.state_dict) == ["weight", "bias"]
    meta = checkpoint.meta["dataset_meta"]
    assert meta["sigmas"].dtype == np.float32
    assert meta["num_keypoints"] == 17


def test_checkpoint_pickled_under_numpy_1(tmp_path: Path) -> None:
    """Numpy 1 has its constructors in `numpy.core`, numpy 2 in `numpy._core`."""
    torch.save(mmengine_content(), tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w") as new,
    ):
        renamed = 0
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                renamed = content.count(b"numpy._core.")
                content = content.replace(b"numpy._core.", b"numpy.core.")
            new.writestr(name, content)
    assert renamed
    assert load_checkpoint(tmp_path / "b.pth").meta["dataset_meta"]["sigmas"].shape == (17,)


def test_bare_state_dict_is_read(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "a.pth")
    checkpoint = load_checkpoint(tmp_path / "a.pth")
    assert list(checkpoint.state_dict) == ["weight", "bias"]
    assert checkpoint.meta == {}


def test_data_parallel_prefix_is_taken_off(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in nn.Linear(3, 2).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    assert set(load_checkpoint(tmp_path / "a.pth").state_dict) == {"weight", "bias"}


class Runs:
    """Unpickling this runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class Reaches:
    """Unpickling this calls getattr on something that is no training curve."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, ("text", "__class__")


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "it-ran"
    torch.save({"state_dict": {}, "x": Runs(marker)}, tmp_path / "a.pth", **{Z: zipped})
    with pytest.raises(BadInputError) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert "posix.system" in error.value.found or "nt.system" in error.value.found
    assert "could run any code" in error.value.next_step
    assert str(tmp_path / "a.pth") in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(Reaches(), "builtins.getattr"), (nn.Linear(2, 2), "torch.nn.modules.linear.Linear")],
)
def test_pickle_that_wants_more_than_data_is_refused(
    tmp_path: Path, value: Any, wanted: str
) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": value}, tmp_path / "a.pth")
    with pytest.raises(BadInputError) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert wanted in error.value.found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b" <html>404 Not Found</html>", "a web page of 27 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"hello" * 300, "a text file of 1,500 bytes"),
        (pickle.dumps({"a": 1}), "a file of"),
    ],
    ids=["empty", "html", "lfs", "text", "pickle"],
)
@pytest.mark.filterwarnings("error")
def test_file_that_is_no_checkpoint(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(BadInputError) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert error.value.found.startswith(found)


def test_download_cut_short(tmp_path: Path) -> None:
    torch.save(mmengine_content(), tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-200])
    with pytest.raises(BadInputError, match="cut short"):
        load_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "a pickled list"),
        ({}, "nothing in it"),
        ({"epoch": 3, "lr": 0.1}, "'epoch', 'lr'"),
        ({"state_dict": {"a": 1}}, "'state_dict'"),
    ],
)
def test_saved_value_without_a_state_dict(tmp_path: Path, content: Any, found: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(BadInputError) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert found in error.value.found


@pytest.mark.parametrize(("name", "found"), [("gone.pth", "no such file"), (".", "a folder")])
def test_path_that_is_no_file(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(BadInputError) as error:
        load_checkpoint(tmp_path / name)
    assert error.value.found == found


def small_model() -> Any:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4)))


def checkpoint_of(state: dict[str, torch.Tensor]) -> Checkpoint:
    return Checkpoint(Path("weights.pth"), state, {})


def test_matching_checkpoint_replaces_the_weights() -> None:
    model, other = small_model(), small_model()
    apply_checkpoint(model, checkpoint_of(other.state_dict()), "model.py")
    assert torch.equal(model.conv.weight, other.conv.weight)


def test_harmless_keys_may_be_absent_or_left_over() -> None:
    state = small_model().state_dict()
    del state["bn.num_batches_tracked"]
    state["data_preprocessor.mean"] = torch.zeros(3)
    state["head.loss_oks.sigmas"] = torch.zeros(17)
    model = small_model()
    apply_checkpoint(model, checkpoint_of(state), "model.py")
    assert torch.equal(model.conv.weight, state["conv.weight"])


def test_checkpoint_of_another_model_names_keys() -> None:
    state = {f"layer{i}.weight": torch.zeros(1) for i in range(5)}
    with pytest.raises(BadInputError) as error:
        apply_checkpoint(small_model(), checkpoint_of(state), "model.py")
    text = str(error.value)
    assert "6 keys missing (conv.weight, conv.bias, bn.weight and 3 more)" in text
    assert "5 keys left over (layer0.weight, layer1.weight, layer2.weight and 2 more)" in text
    assert "model.py" in text
    assert "weights.pth" in text


def test_checkpoint_with_more_layers_is_refused() -> None:
    """One of a deeper model fits a shallow one but for what is left over."""
    state = small_model().state_dict() | {"stage2.weight": torch.zeros(1)}
    with pytest.raises(BadInputError, match=r"1 key left over \(stage2\.weight\)"):
        apply_checkpoint(small_model(), checkpoint_of(state), "model.py")


def test_checkpoint_of_another_size_names_shapes() -> None:
    state = small_model().state_dict() | {"conv.weight": torch.zeros(8, 3, 1, 1)}
    with pytest.raises(BadInputError) as error:
        apply_checkpoint(small_model(), checkpoint_of(state), "model.py")
    assert "conv.weight [8, 3, 1, 1] instead of [4, 3, 1, 1]" in error.value.found


def test_shapes_do_not_hide_what_is_missing() -> None:
    state = {"conv.weight": torch.zeros(8, 3, 1, 1), "fc.weight": torch.zeros(1)}
    with pytest.raises(BadInputError) as error:
        apply_checkpoint(small_model(), checkpoint_of(state), "model.py")
    assert error.value.found == (
        "5 keys missing (conv.bias, bn.weight, bn.bias and 2 more); "
        "1 key left over (fc.weight); "
        "1 key of another shape (conv.weight [8, 3, 1, 1] instead of [4, 3, 1, 1])"
    )


def test_error_that_is_not_about_keys_is_not_hidden() -> None:
    class OutOfMemory(nn.Module):
        def load_state_dict(self, *_args: object, **_kwargs: object) -> Any:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")

    with pytest.raises(RuntimeError, match="not enough memory"):
        apply_checkpoint(OutOfMemory(), checkpoint_of({}), "model.py")


def test_key_without_which_results_change_may_not_be_absent() -> None:
    state = small_model().state_dict()
    del state["bn.running_var"]
    with pytest.raises(BadInputError, match=r"bn\.running_var"):
        apply_checkpoint(small_model(), checkpoint_of(state), "model.py")
