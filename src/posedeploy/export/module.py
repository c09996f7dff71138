"""An mmpose model → a module that can be exported, one kind a head kind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from posedeploy.config import DeployConfig, HeadKind, ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.export import rtmo, yolox_pose
from posedeploy.export.detection import DENSE_NAMES, DetectionStage, detection_settings
from posedeploy.export.heatmap import HeatmapNetwork
from posedeploy.export.simcc import SimccNetwork


@dataclass(frozen=True, eq=False)
class ExportableModule:
    """What a writer needs of a model.

    Attributes:
        network: Takes a normalized image [N, 3, H, W] float32; gives a tuple of tensors in the
            order of `output_names`. Evaluation mode, on the CPU; shares the model's weights.
        head_kind: What the head puts out.
        stage: How much of a detector it holds; None for top-down models.
        input_size: (W, H) in px.
        input_names: Names of the graph's inputs.
        output_names: Names of the graph's outputs.
    """

    network: nn.Module
    head_kind: HeadKind
    stage: DetectionStage | None
    input_size: tuple[int, int]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


_Builder = Callable[[Any, ModelConfig, DeployConfig, DetectionStage], nn.Module]
_Detector = type[yolox_pose.YoloxPoseNetwork] | type[rtmo.RtmoNetwork]


def _detector(network: _Detector) -> _Builder:
    def build(
        model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: DetectionStage
    ) -> nn.Module:
        size = deploy_config.input_shape or model_config.input_size
        return network(model, size, detection_settings(model_config, deploy_config), stage)

    return build


# fmt: off
BUILDERS: Mapping[HeadKind, _Builder] = {
    HeadKind.HEATMAP:    lambda model, *_: HeatmapNetwork(model),
    HeadKind.RTMO:       _detector(rtmo.RtmoNetwork),
    HeadKind.SIMCC:      lambda model, *_: SimccNetwork(model),
    HeadKind.YOLOX_POSE: _detector(yolox_pose.YoloxPoseNetwork),
}
RAW_NAMES: Mapping[HeadKind, tuple[str, ...]] = {
    HeadKind.RTMO:       rtmo.RAW_NAMES,
    HeadKind.YOLOX_POSE: yolox_pose.RAW_NAMES,
}
OUTPUTS: Mapping[HeadKind, int] = {
    HeadKind.HEATMAP:    1,
    HeadKind.RTMO:       2,
    HeadKind.SIMCC:      2,
    HeadKind.YOLOX_POSE: 2,
}
# fmt: on


def exportable_module(
    model: nn.Module,
    model_config: ModelConfig,
    deploy_config: DeployConfig,
    stage: DetectionStage = DetectionStage.NMS,
) -> ExportableModule:
    """Wrap a model for export. The model itself is left as it is.

    Args:
        model: An mmpose pose estimator.
        model_config: Its config.
        deploy_config: Names, input size and NMS settings.
        stage: How much of a detector the graph holds; top-down models have no stages.

    Raises:
        BadInputError: The deploy config is for another head kind, or asks for what no graph
            here computes.
    """
    kind = model_config.head_kind
    _check_fit(kind, model_config, deploy_config)
    network = BUILDERS[kind](sharing_copy(model), model_config, deploy_config, stage)
    network.eval().requires_grad_(False)
    names = deploy_config.output_names
    if kind.bottom_up and stage is not DetectionStage.NMS:
        names = DENSE_NAMES if stage is DetectionStage.DENSE else RAW_NAMES[kind]
    return ExportableModule(
        network=network,
        head_kind=kind,
        stage=stage if kind.bottom_up else None,
        input_size=deploy_config.input_shape or model_config.input_size,
        input_names=deploy_config.input_names,
        output_names=names,
    )


def sharing_copy(model: nn.Module) -> Any:
    """A copy with modules of its own and the same tensors: submodules may be replaced in it."""
    shared: dict[int, object] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    config = getattr(model, "cfg", None)
    return copy.deepcopy(model, shared | {id(config): config})


def _check_fit(kind: HeadKind, model_config: ModelConfig, deploy_config: DeployConfig) -> None:
    name, found = deploy_config.name, len(deploy_config.output_names)
    if found != OUTPUTS[kind] or (name is not None and name.variant != kind.variant):
        variant = f"_{kind.variant}" if kind.variant else ""
        raise BadInputError(
            str(deploy_config.path),
            f"outputs {', '.join(deploy_config.output_names)}",
            f"a deploy config for {model_config.head} ({kind.value})",
            f"Take pose-detection{variant}_{deploy_config.backend}_{deploy_config.shape_mode}….",
        )
    if (deploy_config.raw.get("codebase_config") or {}).get("export_postprocess"):
        raise BadInputError(
            f"{deploy_config.path}: codebase_config.export_postprocess",
            "True",
            "False: the graph ends with simcc_x and simcc_y, and the maximum is found outside",
            "Remove the field.",
        )
    axes = _dynamic_axes(deploy_config)
    if axes - {0}:
        raise BadInputError(
            f"{deploy_config.path}: dynamic_axes",
            f"axes {', '.join(map(str, sorted(axes)))}",
            "axis 0 only: height and width of the input are fixed",
            "Remove the other axes and set input_shape.",
        )


def _dynamic_axes(deploy_config: DeployConfig) -> set[int]:
    section = deploy_config.raw.get("ir_config") or deploy_config.raw.get("onnx_config") or {}
    axes = (section.get("dynamic_axes") or {}).get(deploy_config.input_names[0]) or {}
    return {int(axis) for axis in axes}
