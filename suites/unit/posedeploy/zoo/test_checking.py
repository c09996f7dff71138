"""What is known of a model before it is built."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.sdk.writer import compact_dataset_meta
from posedeploy.zoo.build import build_model, check_forward, dataset_meta
from posedeploy.zoo.checking import build_error, check_keypoints, check_model
from posedeploy.zoo.checkpoints import Checkpoint, load_checkpoint
from posedeploy.zoo.table import config_path, mmpose_files, model_row

COCO = {"num_keypoints": 2, "keypoint_id2name": {0: "a", 1: "b"}, "skeleton_links": [[0, 1]]}


@pytest.fixture(scope="module")
def rtmpose() -> ModelConfig:
    return load_model_config(config_path(model_row("rtmpose_t")))


def with_meta(meta: Any) -> Checkpoint:
    return Checkpoint(Path("mine.pth"), {}, {"dataset_meta": meta})


def test_a_checkpoint_s_names_come_first_where_they_are_as_many(rtmpose: ModelConfig) -> None:
    two = replace(rtmpose, keypoints=2)
    assert dataset_meta(two, with_meta(COCO)) == COCO
    assert dataset_meta(rtmpose, with_meta(COCO))["num_keypoints"] == 17  # the config's
    with pytest.raises(BadInputError, match="a head of 2 keypoints, and 17 names"):
        dataset_meta(two)


@pytest.mark.parametrize(
    "change",
    [
        {"keypoint_id2name": {0: "a"}}, {"num_keypoints": "two"}, {"skeleton_links": [[0, 7]]},
        {"skeleton_links": 3}, {"keypoint_colors": [[300, 0, 0]]}, {"keypoint_id2name": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_s_meta_that_nobody_could_draw(
    rtmpose: ModelConfig, change: dict[str, Any]
) -> None:
    with pytest.raises(BadInputError, match=r"mine\.pth: dataset_meta"):
        dataset_meta(replace(rtmpose, keypoints=2), with_meta(COCO | change))


@pytest.mark.parametrize(
    ("dataset", "found"),
    [
        ({"type": "ConcatDataset"}, "metainfo: found nothing, and the data set ConcatDataset has"),
        (
            {"type": "CombinedDataset"},
            "found nothing, and the data set CombinedDataset has no key",
        ),
        ({"type": "DeepFashionDataset", "subset": "top"}, r"dataset\.subset: found 'top'"),
        ({"type": "DeepFashionDataset", "subset": "lower"}, "and 4 names of keypoints in the"),
        ({"type": "Mine"}, r"dataset\.type: found 'Mine', which is not registered"),
    ],
)
def test_a_data_set_without_the_model_s_keypoints(
    rtmpose: ModelConfig, dataset: dict[str, str], found: str
) -> None:
    config = rtmpose.config.copy()
    config.test_dataloader.dataset.update(dataset)
    with pytest.raises(BadInputError, match=found):
        dataset_meta(replace(rtmpose, config=config))


def test_a_data_set_s_class_is_not_needed_where_there_is_a_metainfo(rtmpose: ModelConfig) -> None:
    config = rtmpose.config.copy()
    names = {i: {"name": f"k{i}"} for i in range(17)}
    config.test_dataloader.dataset.update(type="Mine", metainfo={"keypoint_info": names})
    meta = dataset_meta(replace(rtmpose, config=config))  # neither sigmas nor a skeleton
    assert compact_dataset_meta(meta)["keypoint_names"] == [f"k{i}" for i in range(17)]
    assert (len(meta["sigmas"]), len(meta["skeleton_links"])) == (0, 0)


def test_an_unknown_number_of_keypoints_is_not_compared(rtmpose: ModelConfig) -> None:
    check_keypoints(replace(rtmpose, keypoints=None), COCO, "here")


def test_empty_arrays_in_a_checkpoint(tmp_path: Path) -> None:
    """As data sets without a skeleton or sigmas have them, which are many of mmpose's."""
    meta = {
        "dataset_meta": {"sigmas": np.zeros(0, np.float32), "links": np.zeros((0, 3), np.uint8)}
    }
    torch.save({"state_dict": {"a": torch.zeros(1)}, "meta": meta}, tmp_path / "hand.pth")
    loaded = load_checkpoint(tmp_path / "hand.pth").meta["dataset_meta"]
    assert [loaded[key].shape for key in ("sigmas", "links")] == [(0,), (0, 3)]


def test_a_scope_in_a_type_is_that_of_mmpose_where_the_package_is_missing(
    rtmpose: ModelConfig,
) -> None:
    changed = rtmpose.config.copy()
    changed.model.backbone.pop("_scope_", None)
    changed.model.backbone.type = "mmdet.CSPNeXt"
    model: Any = build_model(replace(rtmpose, config=changed), None)
    assert type(model.backbone).__name__ == "CSPNeXt"


@pytest.mark.parametrize("scope", ["mmcls", "mmpretrain"])
@pytest.mark.parametrize(
    ("source", "found"),
    [
        (None, "no package 'mmpretrain' in this environment"),
        ("raise ValueError('too old')", "the package 'mmpretrain', which does not import: .*too"),
    ],
)
def test_a_backbone_of_mmpretrain_where_that_cannot_be_used(
    source: str | None, found: str, scope: str, rtmpose: ModelConfig, tmp_path: Path
) -> None:
    config = copy.deepcopy(rtmpose.config)
    config.model.backbone = ConfigDict(type=f"{scope}.NoSuchTransformer")
    with packages_of_mmpretrain(source, tmp_path), pytest.raises(UnavailableError) as caught:
        check_model(replace(rtmpose, config=config))
    assert re.search(found, caught.value.found)
    assert caught.value.next_step == "Install it: posedeploy setup"


@contextmanager
def packages_of_mmpretrain(source: str | None, folder: Path) -> Iterator[None]:
    """None: no mmpretrain is found; else one of this source is, not that which is installed."""
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules)
              if name.partition(".")[0] == "mmpretrain"}  # fmt: skip
    if source is None:
        sys.modules["mmpretrain"] = None  # type: ignore[assignment]
    else:
        (folder / "mmpretrain.py").write_text(source)
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.modules.pop("mmpretrain", None)
        sys.modules.update(loaded)
        sys.path[:] = [entry for entry in sys.path if entry != str(folder)]


def test_a_metainfo_in_a_loss_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    text = (mmpose_files() / "configs/_base_/datasets/coco.py").read_text()
    (tmp_path / "own.py").write_text(text)
    path = tmp_path / "model.py"
    head = "dict(loss_oks=dict(metainfo='own.py'))"
    path.write_text(
        f"_base_ = {str(config_path(model_row('yoloxpose_tiny')))!r}\nmodel = dict(head={head})"
    )
    build_model(load_model_config(path), None)
    (tmp_path / "own.py").unlink()
    with pytest.raises(BadInputError, match=r"metainfo: found own\.py, which is no file"):
        build_model(load_model_config(path), None)


def test_fields_that_do_not_fit_each_other(rtmpose: ModelConfig) -> None:
    config = rtmpose.config.copy()
    config.model.head.in_channels = 64
    changed = replace(rtmpose, config=config)
    with pytest.raises(BadInputError, match=r"network: found .*RuntimeError.*channels"):
        check_forward(build_model(changed, None), changed)


def test_an_error_of_ours_stays_as_it_is(rtmpose: ModelConfig) -> None:
    error = BadInputError("a", "b", "c", "d")
    assert build_error(rtmpose, "model", error) is error


def test_the_place_of_an_error_is_named(rtmpose: ModelConfig) -> None:
    config = rtmpose.config.copy()
    config.model.backbone = ConfigDict(type="ResNet", depth=49)
    with pytest.raises(BadInputError, match=r"KeyError: .*49.*\(in ResNet\.__init__\)"):
        build_model(replace(rtmpose, config=config), None)
