"""Listed deploy configs: MMDeploy's names, and what the models of the zoo need."""

from __future__ import annotations

from collections import defaultdict

import pytest

from posedeploy.apis.exporting import check_fit
from posedeploy.config import (
    list_deploy_configs,
    load_deploy_config,
    load_model_config,
    parse_name,
)
from posedeploy.config.listing import LISTED, SHAPES, file_names
from posedeploy.heads import head_words
from posedeploy.runtime import BACKENDS, backend_names
from posedeploy.zoo.table import MODELS, ModelRow, config_path

# MMDeploy 1.3.1's deploy configs for MMPose and the backends here, without 'pose-detection_'.
MMDEPLOY = frozenset(
    {
        "ncnn-int8_static-256x256", "ncnn_static-256x192", "ncnn_static-256x256",
        "onnxruntime-fp16_static", "onnxruntime_static",
        "openvino_static-256x192", "openvino_static-256x256",
        "pplnn_static-256x192",
        "rtmo_onnxruntime_dynamic", "rtmo_tensorrt-fp16_dynamic-640x640",
        "simcc_coreml_static-256x192",
        "simcc_ncnn-fp16_static-256x192", "simcc_ncnn_static-256x192",
        "simcc_onnxruntime-fp16_dynamic", "simcc_onnxruntime_dynamic",
        "simcc_openvino_static-256x192",
        "simcc_tensorrt-fp16_dynamic-256x192", "simcc_tensorrt_dynamic-256x192",
        "tensorrt-fp16_static-256x192", "tensorrt-int8_static-256x192",
        "tensorrt_dynamic-256x192", "tensorrt_static-256x192", "tensorrt_static-256x256",
        "torchscript",
        "yolox-pose_onnxruntime_dynamic", "yolox-pose_openvino_dynamic-640x640",
        "yolox-pose_tensorrt_dynamic-640x640",
    }
)  # fmt: skip


def test_the_files_are_mmdeploys_configs() -> None:
    assert set(file_names()) == {f"pose-detection_{name}" for name in MMDEPLOY}
    assert set(file_names()) <= set(list_deploy_configs())


def test_the_shapes_are_those_of_the_zoo() -> None:
    found = defaultdict(set)
    for row in MODELS:
        config = load_model_config(config_path(row))
        width, height = config.input_size
        found[config.head_kind.word].add((height, width))
    assert found == {word: set(shapes) for word, shapes in SHAPES.items()}


def test_rows_are_of_heads_and_backends_that_there_are() -> None:
    assert set(SHAPES) <= set(head_words())
    assert set(LISTED) <= set(backend_names())


@pytest.mark.parametrize("model", MODELS, ids=lambda row: row.name)
def test_every_model_fits_a_listed_config_of_every_backend_and_precision(
    model: ModelRow,
) -> None:
    config = load_model_config(config_path(model))
    found = set()
    for name in list_deploy_configs():
        deploy_config, parts = load_deploy_config(name), parse_name(name)
        shape = deploy_config.input_shape
        if parts.variant == config.head_kind.word and shape in {None, config.input_size}:
            check_fit(deploy_config, config)
            found.add((parts.backend, parts.precision))
    assert found == {(row.name, word) for row in BACKENDS for word in row.precisions}
