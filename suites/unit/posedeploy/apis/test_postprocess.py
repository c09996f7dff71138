"""`export_postprocess` that fits neither outputs nor model is refused before any work is done."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from posedeploy.apis.exporting import check_fit, export_spec
from posedeploy.config import (
    DeployConfig,
    deploy_config_from,
    load_deploy_config,
    load_model_config,
)
from posedeploy.config.naming import conflict, split_name
from posedeploy.errors import BadInputError
from posedeploy.heads import KEYPOINTS
from posedeploy.runtime import BACKENDS
from posedeploy.zoo.table import config_path, model_row

SIMCC, HEATMAP = "pose-detection_simcc_onnxruntime_dynamic", "pose-detection_onnxruntime_static"
ENDED = "pose-detection_simcc_onnxruntime-keypoints_dynamic"
ENDED_HEATMAP = "pose-detection_onnxruntime-keypoints_static"


def refusal(deploy: DeployConfig, model: str, **codec: Any) -> str:
    config = load_model_config(config_path(model_row(model)))
    config = dataclasses.replace(config, codec={**config.codec, **codec})
    with pytest.raises(BadInputError) as caught:
        check_fit(deploy, config)
    return str(caught.value)


def edited(name: str, **fields: Any) -> DeployConfig:
    return dataclasses.replace(load_deploy_config(name), **fields)


# fmt: off
REFUSED: tuple[tuple[str, dict[str, Any], str, dict[str, Any], str], ...] = (
    # deploy config, fields, model, parameters of its codec, what is said
    (ENDED, {}, "rtmpose_t", {"use_dark": True}, "SimCCLabel with use_dark=True"),
    (ENDED_HEATMAP, {}, "litehrnet_18", {"unbiased": True}, "MSRAHeatmap with unbiased=True"),
    (ENDED_HEATMAP, {}, "mspn50", {}, "found MegviiHeatmap; expected a codec that a graph"),
    (ENDED_HEATMAP, {}, "hrnet_w32", {"type": "UDPHeatmap"}, "found UDPHeatmap"),
    (HEATMAP, {"export_postprocess": True}, "hrnet_w32", {},
     "output_names: found output; expected keypoints and scores"),
    ("pose-detection_rtmo_onnxruntime_static", {"export_postprocess": True}, "rtmo_t", {},
     "the graph of a RTMOHead ends with keypoints anyway"),
    (ENDED, {"export_postprocess": False}, "rtmpose_t", {},
     "found False; expected True, for the outputs keypoints, scores"),
    (ENDED, {"backend": "ncnn"}, "rtmpose_t", {}, "no layer that finds the place of a maximum"),
    (ENDED, {"raw": {"backend_config": {"inference_precision": "f16"}}}, "rtmpose_t", {},
     "'f16' with export_postprocess; expected f32"),
    (ENDED, {"precision": "bf16", "backend": "openvino"}, "rtmpose_t", {},
     "backend_config.precision: found 'bf16' with export_postprocess; expected fp32"),
)
# fmt: on


@pytest.mark.parametrize(("name", "fields", "model", "codec", "failure"), REFUSED)
def test_what_a_graph_cannot_decode_is_refused_by_name(
    name: str, fields: dict[str, Any], model: str, codec: dict[str, Any], failure: str
) -> None:
    assert failure in refusal(edited(name, **fields), model, **codec)


def test_the_field_must_be_a_flag() -> None:
    from mmengine.config import Config

    config = Config(dict(load_deploy_config(SIMCC).raw))
    config["codebase_config"]["export_postprocess"] = "yes"
    with pytest.raises(BadInputError, match="export_postprocess: found 'yes'; expected True or"):
        deploy_config_from(config)


@pytest.mark.parametrize("model", ["rtmpose_t", "simcc_mobilenetv2"])
def test_mmdeploys_names_are_kept(model: str) -> None:
    """MMDeploy's own config with the field set: keypoints and scores as simcc_x and simcc_y."""
    deploy = edited(SIMCC, export_postprocess=True)
    check_fit(deploy, load_model_config(config_path(model_row(model))))
    spec = export_spec(deploy)
    assert (spec["stage"], spec["output_names"]) == ("keypoints", ("simcc_x", "simcc_y"))
    assert export_spec(load_deploy_config(SIMCC))["stage"] == "whole"


def test_another_stage_than_the_field_asks_for_is_refused() -> None:
    deploy = edited(ENDED)
    backend = {**deploy.raw["backend_config"], "stage": "whole"}
    deploy = dataclasses.replace(deploy, raw={**deploy.raw, "backend_config": backend})
    with pytest.raises(BadInputError, match="stage: found 'whole'; expected one of keypoints"):
        export_spec(deploy)


@pytest.mark.parametrize("row", BACKENDS, ids=lambda row: row.name)
def test_every_backend_has_the_option_or_says_why_not(row: Any) -> None:
    name = split_name(f"pose-detection_simcc_{row.name}-keypoints_static-256x192")
    assert name is not None
    found = conflict(name)
    why = dict(row.lacks).get(KEYPOINTS)
    assert found == (("option keypoints", f"none: {why}") if why else None)
