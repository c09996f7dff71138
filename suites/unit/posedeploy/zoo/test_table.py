"""The table of models is complete, and is read without loading mmpose or torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from poseconform.report.data.vocabulary import FAMILIES as UPSTREAM
from posedeploy.config import FAMILIES, load_model_config
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.zoo.table import (
    MODELS,
    TIERS,
    ZOO,
    ModelRow,
    config_path,
    mmpose_files,
    model_row,
    models_of,
    published,
)

DEFAULT = (
    "hrnet_w32 mspn50 litehrnet_18 hourglass52 simcc_mobilenetv2 rtmpose_s yoloxpose_s rtmo_s"
)
UNPUBLISHED = {"vis_res50"}  # mmpose has a config for it, and no checkpoint
REFERENCE = (
    "hrnet_w48 4xmspn50 litehrnet_30 hourglass52 simcc_mobilenetv2 rtmpose_m yoloxpose_s rtmo_s"
)


HEADS = "heads"
TABLED = [tier for tier in TIERS if tier != ZOO]


def test_every_family_has_a_model_and_mmdeploys_have_one_in_every_tier() -> None:
    for tier in {*TABLED} - {HEADS}:
        assert {row.family for row in models_of([tier])} == set(UPSTREAM), tier
    further = {row.family for row in MODELS} - set(UPSTREAM)
    assert {row.family for row in models_of([HEADS])} == further
    assert {row.family for row in MODELS} <= set(FAMILIES.values())


def test_no_tier_has_two_models_of_a_family() -> None:
    for tier in TABLED:
        families = [row.family for row in models_of([tier])]
        assert len(families) == len(set(families)), tier


def test_names_are_unique_and_sorted() -> None:
    names = [row.name for row in MODELS]
    assert names == sorted(set(names))
    assert len(names) >= 16


@pytest.mark.parametrize(("tier", "names"), [("default", DEFAULT), ("reference", REFERENCE)])
def test_tier(tier: str, names: str) -> None:
    assert {row.name for row in models_of([tier])} == set(names.split())


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_config_is_that_of_the_row(row: ModelRow) -> None:
    assert load_model_config(config_path(row)).family == row.family


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_model_index_has_a_checkpoint(row: ModelRow) -> None:
    found = published(row)
    if row.name in UNPUBLISHED:
        assert found is None
        return
    assert found is not None
    assert found.url.startswith("https://")
    assert found.url.endswith(".pth")
    assert 0.3 < found.metrics.get("AP", found.metrics.get("Whole AP", 0.0)) < 1


def test_model_that_the_index_does_not_list() -> None:
    row = model_row("rtmpose_t")
    assert published(ModelRow(row.name, row.family, row.config + "x", ())) is None


def test_selection_mixes_tiers_and_names_without_repetition() -> None:
    rows = models_of(["rtmo_t", "quick", "hrnet_w48"])
    assert [row.name for row in rows] == sorted(
        {"hrnet_w48"} | {row.name for row in models_of(["quick"])}
    )


def test_all_is_all() -> None:
    assert models_of(["all"]) == MODELS


def test_the_zoo_is_every_2d_config_once() -> None:
    rows, root = models_of(["zoo"]), mmpose_files() / "configs"
    assert rows[: len(MODELS)] == MODELS
    shipped = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "2d" in path.relative_to(root).parts[0] and "_base_" not in path.parts
    ]
    assert sorted(row.config for row in rows) == sorted(shipped)
    names = [row.name for row in rows]
    assert len(names) == len(set(names)) >= 395
    assert {row.tiers for row in rows[len(MODELS) :]} == {("zoo",)}


def test_a_config_of_mmpose_is_named_like_its_file() -> None:
    name = "td-hm_vgg16-bn_8xb64-210e_coco-256x192"
    (row, tabled) = sorted(models_of([name, "rtmo_t"]), key=lambda row: row.name, reverse=True)
    assert (row.name, row.tiers, tabled.name) == (name, ("zoo",), "rtmo_t")
    assert load_model_config(config_path(row)).family == "VGG"


def test_empty_selection_is_empty() -> None:
    assert models_of([]) == ()


def test_unknown_word_lists_what_there_is() -> None:
    with pytest.raises(BadInputError) as error:
        models_of(["quick", "resnet50"])
    for word in ("'resnet50'", "all", "quick", "rtmo_s"):
        assert word in str(error.value)


def test_unknown_name_lists_the_models_and_not_the_tiers() -> None:
    with pytest.raises(BadInputError) as error:
        model_row("quick")
    assert "hrnet_w32" in error.value.expected
    assert "reference" not in error.value.expected


def test_config_that_the_installed_mmpose_lacks() -> None:
    with pytest.raises(BadInputError, match=r"no-such\.py"):
        config_path(ModelRow("m", "HRNet", "no-such.py", ()))


def test_mmpose_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmpose", None)
    mmpose_files.cache_clear()
    try:
        with pytest.raises(UnavailableError, match="posedeploy setup"):
            config_path(model_row("rtmo_t"))
    finally:
        mmpose_files.cache_clear()


def test_reading_the_table_loads_no_heavy_package() -> None:
    code = (
        "import sys; from posedeploy.zoo.table import *;"
        "config_path(model_row('rtmo_t')); published(model_row('rtmo_t'));"
        "print(sorted({'torch', 'mmpose', 'mmcv', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_paths_are_relative() -> None:
    assert not any(Path(row.config).is_absolute() for row in MODELS)
