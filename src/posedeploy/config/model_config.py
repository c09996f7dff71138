"""An MMPose model config as a typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posedeploy.config.files import read_config
from posedeploy.config.model_fields import (
    CODEC,
    OUT_CHANNELS,
    PIPELINE,
    PREPROCESSOR,
    TEST_CFG,
    channels,
    check_fields,
)
from posedeploy.config.structure import check_structure, keypoint_count, pose_head
from posedeploy.config.student import with_student
from posedeploy.config.type_names import type_name, with_type_names
from posedeploy.errors import BadInputError, did_you_mean
from posedeploy.heads import HEADS, NOT_SUPPORTED, HeadSpec, head_of_kind, head_of_mmpose

# fmt: off
# (head, backbone) -> family; '' stands for any backbone
FAMILIES: Mapping[tuple[str, str], str] = {
    ("AssociativeEmbeddingHead", ""):              "AE",
    ("CIDHead", ""):                               "CID",
    ("CPMHead", "CPM"):                            "CPM",
    ("CPMHead", "HourglassNet"):                   "Hourglass",
    ("DEKRHead", ""):                              "DEKR",
    ("DSNTHead", ""):                              "DSNT",
    ("HeatmapHead", "AlexNet"):                    "AlexNet",
    ("HeatmapHead", "CSPNeXt"):                    "CSPNeXt",
    ("HeatmapHead", "HRFormer"):                   "HRFormer",
    ("HeatmapHead", "HRNet"):                      "HRNet",
    ("HeatmapHead", "LiteHRNet"):                  "LiteHRNet",
    ("HeatmapHead", "MobileNetV2"):                "MobileNetV2",
    ("HeatmapHead", "PyramidVisionTransformer"):   "PVT",
    ("HeatmapHead", "PyramidVisionTransformerV2"): "PVT",
    ("HeatmapHead", "ResNeSt"):                    "ResNeSt",
    ("HeatmapHead", "ResNeXt"):                    "ResNeXt",
    ("HeatmapHead", "ResNet"):                     "ResNet",
    ("HeatmapHead", "ResNetV1d"):                  "ResNetV1d",
    ("HeatmapHead", "SCNet"):                      "SCNet",
    ("HeatmapHead", "SEResNet"):                   "SEResNet",
    ("HeatmapHead", "ShuffleNetV1"):               "ShuffleNet",
    ("HeatmapHead", "ShuffleNetV2"):               "ShuffleNet",
    ("HeatmapHead", "SwinTransformer"):            "Swin",
    ("HeatmapHead", "VGG"):                        "VGG",
    ("HeatmapHead", "VisionTransformer"):          "ViTPose",
    ("IntegralRegressionHead", ""):                "DSNT",
    ("MSPNHead", "MSPN"):                          "MSPN",
    ("MSPNHead", "RSN"):                           "RSN",
    ("RLEHead", ""):                               "RLE",
    ("RTMCCHead", ""):                             "RTMPose",
    ("RTMOHead", ""):                              "RTMO",
    ("RTMWHead", ""):                              "RTMW",
    ("RegressionHead", ""):                        "DeepPose",
    ("SimCCHead", ""):                             "SimCC",
    ("ViPNASHead", ""):                            "ViPNAS",
    ("VisPredictHead", ""):                        "VisPredict",
    ("YOLOXPoseHead", ""):                         "YOLOX-Pose",
}
# fmt: on
OTHER_FAMILY = "other"  # a supported head on a backbone outside the support table


@dataclass(frozen=True)
class ModelConfig:
    """One MMPose model config."""

    path: Path
    head: str  # type name
    head_kind: HeadSpec
    family: str  # row of the support table, or 'other'
    input_size: tuple[int, int]  # (W, H) in input px
    mean: tuple[float, ...]  # in the channel order of the network input, 0..255; std too
    std: tuple[float, ...]
    bgr_to_rgb: bool  # True if the network takes RGB
    codec: Mapping[str, Any]  # the one that decodes: the last if there are several
    test_cfg: Mapping[str, Any]  # without flip test
    test_pipeline: tuple[Mapping[str, Any], ...]
    estimator: str  # type name
    config: Any = field(repr=False, compare=False)  # the whole `mmengine.config.Config`
    keypoints: int | None = None  # that it finds, where the config has their number


def load_model_config(path: str | Path) -> ModelConfig:
    """Read an MMPose config.

    Raises:
        BadInputError: Not an MMPose config, or its head is of no supported kind.
    """
    return model_config_from(read_config(Path(path), "model config"))


def model_config_from(config: Any) -> ModelConfig:
    """As `load_model_config`, of an `mmengine.config.Config` that was read before.

    Types may be classes in it; they are names in the result. Of a distillation it is the student.
    """
    path = Path(config.filename or "model config")
    config = with_type_names(with_student(path, config))
    model = config.get("model")
    if not isinstance(model, dict) or "head" not in model or "backbone" not in model:
        raise _no_model_config(path, config)
    head = model["head"].get("type") if isinstance(model["head"], dict) else None
    if not isinstance(head, str):
        raise BadInputError(
            f"{path}: model.head", repr(model["head"]), "a dict with a type", "Correct the field."
        )
    kind = head_of_mmpose(head)
    if kind is None:
        supported = sorted(name for row in HEADS for name in row.mmpose_heads)
        raise BadInputError(
            f"{path}: model.head.type", head or "''", f"a supported head: {', '.join(supported)}",
            NOT_SUPPORTED.get(head) or did_you_mean(
                head, supported,
                "Heads of other kinds need an export module and a decoder; see CONTRIBUTING.md.",
            ),
        )  # fmt: skip
    if "test_dataloader" not in config:
        raise BadInputError(
            str(path), "no test_dataloader, whose pipeline holds the size of the model's input",
            "a whole MMPose config", "Inherit from a config that mmpose ships, as _base_.",
        )  # fmt: skip
    check_structure(path, config)
    _fit_images(config)
    pipeline = tuple(config["test_dataloader"]["dataset"]["pipeline"])
    finder = _finder(path, model, kind)
    codec = finder.get("decoder") or config.get("codec") or {}
    codec = codec[-1] if isinstance(codec, list | tuple) else codec
    preprocessor = model.get("data_preprocessor") or {}
    parts = {
        CODEC: finder.get("decoder"),
        OUT_CHANNELS: finder.get("out_channels", finder.get("num_joints")),
        PIPELINE: pipeline, PREPROCESSOR: preprocessor, TEST_CFG: model.get("test_cfg"),
    }  # fmt: skip
    check_fields(str(path), parts, kind)
    return ModelConfig(
        path=path, head=head, head_kind=kind,
        family=family_of(head, str(model["backbone"]["type"])),
        input_size=_input_size(pipeline),
        mean=channels(preprocessor.get("mean"), 0.0), std=channels(preprocessor.get("std"), 1.0),
        bgr_to_rgb=bool(preprocessor.get("bgr_to_rgb") or preprocessor.get("rgb_to_bgr")),
        codec=dict(codec),
        test_cfg={**(model.get("test_cfg") or {}), "flip_test": False},
        test_pipeline=pipeline, estimator=str(model["type"]), config=config,
        keypoints=keypoint_count(path, model, codec),
    )  # fmt: skip


def _finder(path: Path, model: Mapping[str, Any], kind: HeadSpec) -> Mapping[str, Any]:
    """The part with the head that finds keypoints; around it there may be a `VisPredictHead`."""
    finder = pose_head(model)
    inner = head_of_mmpose(str(finder.get("type")))
    if finder is not model["head"] and (inner is None or inner.kind != "heatmap"):
        able = ", ".join(head_of_kind("heatmap").mmpose_heads)
        raise BadInputError(
            f"{path}: model.head.pose_cfg.type", repr(finder.get("type")),
            f"a head of heatmaps in a {model['head']['type']}: {able}",
            "Deploy the head without it: it predicts visibilities, and finds no keypoints.",
        )  # fmt: skip
    if kind.kind == "visibility" and finder is model["head"]:
        raise BadInputError(
            f"{path}: model.head.pose_cfg", "nothing", "the head that finds keypoints, a dict",
            "Add it.",
        )  # fmt: skip
    return finder


def _fit_images(config: Any) -> None:
    """Let the test pipeline fit an image into the input, in place.

    Configs of models that group keypoints have `resize_mode='expand'`, with which the input has
    another size for each image: a graph has one. mmpose in the comparison fits the image as well.
    """
    for step in config["test_dataloader"]["dataset"]["pipeline"]:
        if type_name(step["type"]) == "BottomupResize" and step.get("resize_mode") == "expand":
            step["resize_mode"] = "fit"


def _no_model_config(path: Path, config: Any) -> BadInputError:
    found, next_step = "no model with a backbone and a head", "Check the path."
    model = config.get("model")
    if isinstance(model, dict) and "keypoint_head" in model:
        found = "model.keypoint_head: a config of MMPose 0.x"
        next_step = "Give the same model's config of MMPose 1.x; the checkpoint still fits it."
    elif "backend_config" in config:
        next_step = "This is a deploy config, which comes first; the model config comes second."
    return BadInputError(str(path), found, "an MMPose 1.x model config", next_step)


def family_of(head: str, backbone: str) -> str:
    """The row of the support table for a head on a backbone."""
    bare = backbone.rsplit(".", 1)[-1]
    return FAMILIES.get((head, bare)) or FAMILIES.get((head, "")) or OTHER_FAMILY


def _input_size(pipeline: tuple[Mapping[str, Any], ...]) -> tuple[int, int]:
    """(W, H) of the network input, from the one transform of a checked test pipeline that resizes.

    Not from the codec: yoloxpose_tiny inherits a codec of 640 and resizes to 416.
    """
    width, height = next(step["input_size"] for step in pipeline if "input_size" in step)
    return width, height
