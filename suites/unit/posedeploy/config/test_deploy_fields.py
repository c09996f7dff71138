"""Fields of deploy configs that are removed or of another type: an error of ours, or none."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from mmengine.config import Config

from posedeploy.apis.exporting import export_spec
from posedeploy.config import deploy_config_from, read_deploy_config
from posedeploy.errors import PoseDeployError

NAMES = (
    "pose-detection_simcc_onnxruntime_static", "pose-detection_simcc_onnxruntime-int8_static",
    "pose-detection_yolox-pose_tensorrt-fp16_dynamic-416x416",
)  # fmt: skip
REMOVED = object()
VALUES: tuple[Any, ...] = (
    REMOVED,
    None,
    "x",
    3,
    -1,
    1.5,
    float("nan"),
    True,
    [],
    [1, 2],
    {},
    {"a": 1},
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in children:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))


@pytest.mark.parametrize("name", NAMES)
def test_no_edit_ends_in_an_error_of_python_s(name: str) -> None:
    raw = read_deploy_config(name).to_dict()
    deploy_config_from(Config(raw))  # as it is, it is read
    refused = 0
    for path in places(raw):
        for value in VALUES:
            changed = copy.deepcopy(raw)
            node: Any = changed
            for key in path[:-1]:
                node = node[key]
            if value is REMOVED:
                del node[path[-1]]
            else:
                node[path[-1]] = value
            try:
                export_spec(deploy_config_from(Config(changed)))
            except PoseDeployError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("section", "field", "value", "expected"),
    [
        ("onnx_config", "opset_version", "x", "an integer"),
        ("onnx_config", "input_names", [], "a list of names"),
        ("onnx_config", "dynamic_axes", {"input": 3}, "a dict of axes"),
        ("onnx_config", "input_shape", [256.5, 192], r"None or \[W, H\] in px"),
        ("codebase_config", "post_processing", 3, "a dict"),
        ("backend_config", "common_config", [1], "a dict"),
    ],
)
def test_the_field_is_named(section: str, field: str, value: Any, expected: str) -> None:
    raw = read_deploy_config(NAMES[0]).to_dict()
    raw[section][field] = value
    with pytest.raises(
        PoseDeployError, match=rf"{section}\.{field}: found .*; expected {expected}"
    ):
        deploy_config_from(Config(raw))
