"""An mmpose model → a module that can be exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.export.norms import NORMS
from posedeploy.export.windows import ShiftedWindowAttention
from posedeploy.heads import HeadSpec, Stage, load
from posedeploy.runtime import backend_row

Replacements = Mapping[str, Callable[[Any], nn.Module]]  # class of a module -> what replaces it
# What exporters record wrongly -> what computes the same and is recorded right
REWRITES: Replacements = {
    "mmpose.models.backbones.swin.ShiftWindowMSA": ShiftedWindowAttention,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ExportableModule:
    """What a writer needs of a model.

    The network takes a normalized image [N, 3, H, W] float32 and returns a tuple of tensors in the
    order of `output_names`. It is in evaluation mode, on the CPU, and shares the model's weights.
    """

    network: nn.Module
    head_kind: HeadSpec
    stage: Stage
    input_size: tuple[int, int]  # (W, H) in px
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def exportable_module(
    model: nn.Module, model_config: ModelConfig, deploy_config: DeployConfig, stage: str = ""
) -> ExportableModule:
    """Wrap an mmpose pose estimator for export. The model itself is not changed.

    `stage` is a stage of the head's row, where the graph ends; '' for the whole graph.

    Raises:
        BadInputError: The deploy config is for another head kind or an unsupported graph.
    """
    head = model_config.head_kind
    _check_fit(head, model_config, deploy_config)
    ending = head.stage(stage) if stage else head.stages[0]
    rewrites = {**REWRITES, **NORMS[backend_row(deploy_config.backend).norm]}
    copied = replace_modules(sharing_copy(model), rewrites)
    network = load(head.network)(copied, model_config, deploy_config, ending.name)
    network.eval().requires_grad_(False)
    whole = ending in head.whole_stages
    return ExportableModule(
        network=network,
        head_kind=head,
        stage=ending,
        input_size=deploy_config.input_shape or model_config.input_size,
        input_names=deploy_config.input_names,
        output_names=deploy_config.output_names if whole else ending.output_names,
    )


def sharing_copy(model: nn.Module) -> Any:
    """A copy with modules of its own and the same tensors: submodules may be replaced in it."""
    shared: dict[int, object] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    config = getattr(model, "cfg", None)
    return copy.deepcopy(model, shared | {id(config): config})


def replace_modules(network: Any, replacements: Replacements) -> Any:
    """The same network, in which every module of a class of the table is what its row makes of it.

    In place: give it a `sharing_copy`.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if make := replacements.get(type_name(child)):
                setattr(parent, name, make(child))
    return network


def type_name(module: nn.Module) -> str:
    """The dotted path of a module's class, as `Replacements` have it."""
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}"


def _check_fit(head: HeadSpec, model_config: ModelConfig, deploy_config: DeployConfig) -> None:
    name, outputs = deploy_config.name, len(deploy_config.output_names)
    if outputs not in {len(s.outputs) for s in head.whole_stages} or (
        name is not None and name.variant not in {"", head.word}
    ):
        word = f"_{head.word}" if head.word else ""
        raise BadInputError(
            str(deploy_config.path), f"outputs {', '.join(deploy_config.output_names)}",
            f"a deploy config for {model_config.head} ({head.kind})",
            f"Take pose-detection{word}_{deploy_config.backend}_{deploy_config.shape_mode}….",
        )  # fmt: skip
    section = deploy_config.raw.get("ir_config") or deploy_config.raw.get("onnx_config") or {}
    dynamic_axes = (section.get("dynamic_axes") or {}).get(deploy_config.input_names[0]) or {}
    axes = sorted(map(int, dynamic_axes))
    if set(axes) - {0}:
        raise BadInputError(
            f"{deploy_config.path}: dynamic_axes", f"axes {', '.join(map(str, axes))}",
            "axis 0 only: height and width of the input are fixed",
            "Remove the other axes and set input_shape.",
        )  # fmt: skip
