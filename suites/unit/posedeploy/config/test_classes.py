"""How many classes a model tells apart, and their names in the order of its labels."""

from __future__ import annotations

from typing import Any

import pytest

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.config.classes import class_count, class_meta
from posedeploy.zoo.table import config_path, model_row


def detector(name: str = "yoloxpose_tiny", classes: int = 2) -> ModelConfig:
    config = load_model_config(config_path(model_row(name)))
    config.config["model"]["head"]["head_module_cfg"]["num_classes"] = classes
    return config


@pytest.mark.parametrize("name", ["yoloxpose_tiny", "rtmo_t"])
def test_the_layers_have_the_number_of_classes(name: str) -> None:
    config = detector(name)
    config.config["model"]["head"]["num_classes"] = 7  # which nothing reads
    assert class_count(config) == 2
    assert class_count(load_model_config(config_path(model_row(name)))) == 1
    assert class_count(load_model_config(config_path(model_row("hrnet_w32")))) == 1


def category(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "name": name, "supercategory": "animal"}


CAT, DOG = category(1, "cat"), category(2, "dog")


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"CLASSES": [CAT, DOG]}, ["cat", "dog"]),
        ({"CLASSES": [DOG, CAT]}, ["cat", "dog"]),  # by id, as mmpose makes labels
        ({"CLASSES": [CAT, DOG], "classes": ("dog", "cat")}, ["dog", "cat"]),
        ({"CLASSES": [category(5, "cat"), DOG]}, None),
        ({"CLASSES": [CAT]}, None),
        ({"CLASSES": "cats"}, None),
        ({"classes": ["cat"]}, None),
        ({}, None),
    ],
)
def test_names_are_in_the_order_of_the_labels(
    meta: dict[str, Any], names: list[str] | None
) -> None:
    assert class_meta(detector(), meta) == ({} if names is None else {"class_names": names})


def test_names_of_the_config_are_the_last_resort() -> None:
    config = detector()
    config.config["test_dataloader"]["dataset"]["metainfo"] = {"classes": ("a", "b")}
    assert class_meta(config, {}) == {"class_names": ["a", "b"]}
    assert class_meta(config, {"classes": ("c", "d")}) == {"class_names": ["c", "d"]}


def test_a_model_of_one_class_has_no_names() -> None:
    assert class_meta(detector(classes=1), {"CLASSES": [category(1, "person")]}) == {}
