"""Data sets' files: where they are looked for, and what may be missing in them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from posedeploy.config.metainfo import find_metainfo, read_metainfo
from posedeploy.errors import BadInputError
from posedeploy.zoo.table import mmpose_files

DATASETS = sorted((mmpose_files() / "configs/_base_/datasets").glob("*.py"))
ONE = {"keypoint_info": {0: {"name": "a"}}}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "current").mkdir()
    (tmp_path / "project/configs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "current")
    return tmp_path / "project/configs/model.py"


def read(metainfo: Any) -> Any:
    return read_metainfo(Path("model.py"), metainfo, "subject")


def test_the_order_of_the_places(config: Path) -> None:
    """Files that are found nearer come first, as mmpose's own rule has it: the current folder."""
    places = (config.parent.parent.parent, config.parent.parent, config.parent, Path())
    for place in places:
        (place / "own.py").write_text("")
        found = find_metainfo(config, "own.py", "subject")
        assert found.resolve() == (place / "own.py").resolve()


def test_mmpose_s_own_file_is_the_last_resort(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = mmpose_files() / "configs/_base_/datasets/coco.py"
    assert find_metainfo(config, "configs/_base_/datasets/coco.py", "subject") == shipped
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert find_metainfo(config, "mine/coco.py", "subject") == shipped
    assert "no file mine/coco.py; as in mmpose" in caplog.text


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.stem)
def test_mmpose_s_own_files_are_read(path: Path) -> None:
    metainfo = read({"from_file": str(path)})
    assert set(metainfo) >= {"dataset_name", "joint_weights", "keypoint_info", "sigmas"}


def test_what_may_be_missing() -> None:
    assert read(ONE | {"sigmas": None}) == ONE | {
        "dataset_name": "model", "joint_weights": [1.0], "sigmas": [], "skeleton_info": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metainfo", "subject"),
    [
        (3, "subject"),
        ({}, "subject: keypoint_info"),
        ({"keypoint_info": []}, "subject: keypoint_info"),
        ({"keypoint_info": {"0": {"name": "a"}}}, "subject: keypoint_info"),
        ({"keypoint_info": {0: "a"}}, "subject: keypoint_info[0]"),
        ({"keypoint_info": {0: {"name": 3}}}, "subject: keypoint_info[0]"),
        ({"keypoint_info": {0: {"name": "a", "color": [1, 2]}}}, "keypoint_info[0].color"),
        ({"keypoint_info": {0: {"name": "a", "color": "red"}}}, "keypoint_info[0].color"),
        ({"keypoint_info": {0: {"name": "a", "swap": []}}}, "keypoint_info[0].swap"),
        (ONE | {"sigmas": "0.1"}, "subject: sigmas"),
        (ONE | {"sigmas": [True]}, "subject: sigmas"),
        (ONE | {"joint_weights": ["a"]}, "subject: joint_weights"),
        (ONE | {"skeleton_info": [("a", "a")]}, "subject: skeleton_info"),
        (ONE | {"skeleton_info": {0: {"link": ("a",)}}}, "subject: skeleton_info[0]"),
        (ONE | {"skeleton_info": {0: {"link": ([], [])}}}, "subject: skeleton_info[0]"),
        ({"from_file": __file__}, "test_metainfo.py"),
        ({"from_file": 3}, "subject.from_file"),
        ({"from_file": "\0"}, "subject.from_file"),
    ],
)
def test_what_is_refused(metainfo: Any, subject: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read(metainfo)
    assert caught.value.subject.endswith(subject)
