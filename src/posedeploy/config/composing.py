"""Deploy configs that are composed from their names.

The graph's outputs come from the row of the head kind, the shape from the name, and what a backend
needs at a precision from `deploy_configs/_base_/`, which MMDeploy's own configs inherit too:
`_base_/backends/{backend}-{precision}.py` if there is one, else `{backend}.py` with the precision
set. A backend that has neither gets its name and its precision.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from posedeploy.config.files import config_root
from posedeploy.config.literals import read_literals
from posedeploy.config.naming import DEFAULT_PRECISION, OPTIONS, DeployConfigName, conflict
from posedeploy.errors import BadInputError
from posedeploy.heads import HeadSpec, Stage, head_of_word
from posedeploy.runtime.registry import backend_row

STRIDE = 8  # of CPM, whose input of 368x368 px is in the finest steps of all that mmpose has
_USUAL = 32  # sides of nearly all models of mmpose are multiples of it
# Batches that an engine with a dynamic batch is built for, as MMDeploy's configs have them.
BATCHES = {"min_shape": 1, "opt_shape": 2, "max_shape": 4}
Shape = tuple[int, int]  # (H, W) in input px


@dataclass(frozen=True)
class Extras:
    """What the configs of a backend hold beyond their base files."""

    ir: Mapping[str, Any]  # fields of onnx_config or ir_config
    backend_config: Mapping[str, Any]
    model_inputs: Callable[[Shape, bool], Any]  # of a shape and whether the batch is dynamic
    needs_shape: bool = False  # True if a config with a dynamic batch has to name its shape


def _profiles(shape: Shape, dynamic: bool) -> Any:
    """TensorRT's optimization profile; an engine with a static batch takes the graph's shape."""
    if not dynamic:
        return None
    profile = {key: [batch, 3, *shape] for key, batch in BATCHES.items()}
    return [{"input_shapes": {"input": profile}}]


# ---- modify this table where a backend's configs hold more than its base file ------------------
# fmt: off
EXTRAS: Mapping[str, Extras] = {
    "openvino": Extras({}, {}, lambda shape, _: [{"opt_shapes": {"input": [1, 3, *shape]}}]),
    "pplnn":    Extras({"opset_version": 13}, {}, lambda shape, _: {"opt_shape": [1, 3, *shape]}),
    "tensorrt": Extras({}, {"common_config": {"max_workspace_size": 1 << 30}}, _profiles, True),
    # no limit of scratch memory: a batch of 4 of rtmo_t takes more than TensorRT's 1 GB in float32
    "tensorrt-rtx": Extras({}, {}, _profiles, True),
}
# fmt: on
_NO_EXTRAS = Extras({}, {}, lambda *_: None)
# ------------------------------------------------------------------------------------------------


def compose(name: DeployConfigName) -> dict[str, Any]:
    """The deploy config that a name stands for, as plain dicts.

    Raises:
        BadInputError: The parts of the name do not go together, or the shape is missing or not a
            multiple of the stride.
    """
    if wrong := conflict(name):
        raise BadInputError(f"deploy config {name}", *wrong, "Change that part of the name.")
    extras = EXTRAS.get(name.backend, _NO_EXTRAS)
    if name.shape is None and extras.needs_shape and name.shape_mode == "dynamic":
        raise BadInputError(
            f"deploy config {name}", "no shape",
            f"a shape: {name.backend} needs one for a dynamic batch",
            f"Add one, height x width: {name}-256x192",
        )  # fmt: skip
    if name.shape and (bad := [side for side in name.shape if side % STRIDE]):
        near = "x".join(str(max(_USUAL, round(side / _USUAL) * _USUAL)) for side in name.shape)
        raise BadInputError(
            f"deploy config {name}", f"{bad[0]}, which is no multiple of {STRIDE}",
            f"height x width in multiples of {STRIDE}, a stride of the networks",
            f"Use {near}; the model config must have the same shape.",
        )  # fmt: skip
    head = head_of_word(name.variant)
    ir, backend = _ir(name, head, extras), _backend(name, head, extras)
    return {**ir, "codebase_config": _codebase(name, head), **backend}


def _ir(name: DeployConfigName, head: HeadSpec, extras: Extras) -> dict[str, Any]:
    """`ir_config` for the forms that MMDeploy exports as TorchScript, else `onnx_config`."""
    torchscript = backend_row(name.backend).form in {"exported-program", "torchscript"}
    config = _base("torchscript_config" if torchscript else "onnx_config")
    for ir in config.values():
        ir["output_names"] = list(_ending(name, head).output_names)
        ir["input_shape"] = [name.shape[1], name.shape[0]] if name.shape else None
        if name.shape_mode == "dynamic":
            tensors = [*ir["input_names"], *ir["output_names"]]
            ir["dynamic_axes"] = {tensor: {0: "batch"} for tensor in tensors}
        ir.update(extras.ir)
    return config


def _ending(name: DeployConfigName, head: HeadSpec) -> Stage:
    """The stage that a config's `output_names` are those of."""
    stage = OPTIONS[name.option].stage if name.option else ""
    return head.stage(stage) if stage else head.stages[0]


def _codebase(name: DeployConfigName, head: HeadSpec) -> dict[str, Any]:
    if head.codecs:
        more = OPTIONS[name.option].codebase_config if name.option else {}
        return {"type": "mmpose", "task": "PoseDetection", **more}
    codebase: dict[str, Any] = _base(head.word, "yolox-pose")["codebase_config"]
    if name.option and (limit := OPTIONS[name.option].max_pre_top_k):
        suppression = codebase["post_processing"]
        suppression["pre_top_k"] = min(suppression["pre_top_k"], limit)
    return codebase


def _backend(name: DeployConfigName, head: HeadSpec, extras: Extras) -> dict[str, Any]:
    """`backend_config` and, for int8, `calib_config`."""
    precision = "" if name.precision == DEFAULT_PRECISION else f"-{name.precision}"
    config = _base(f"backends/{name.backend}{precision}")
    if not config:
        config = _base(f"backends/{name.backend}") or {"backend_config": {"type": name.backend}}
        if precision:
            config["backend_config"]["precision"] = name.precision.upper()  # as MMDeploy has it
        if name.precision == "int8":
            config["calib_config"] = {"images": None, "count": None}
    backend = config["backend_config"]
    if "keep_io_types" in backend.get("common_config", {}):
        # px of an input of 640, which detectors output, float16 has in steps of 0.5
        in_px = not head.codecs or _ending(name, head) is not head.stages[0]
        backend["common_config"]["keep_io_types"] = in_px
    _merge(backend, extras.backend_config)
    if name.shape and (inputs := extras.model_inputs(name.shape, name.shape_mode == "dynamic")):
        backend["model_inputs"] = inputs
    if name.option:
        _merge(backend, OPTIONS[name.option].backend_config)
    return config


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def _base(*names: str) -> dict[str, Any]:
    """A copy of the first of these files in `_base_/` that exists; empty if none does."""
    return next((copy.deepcopy(raw) for name in names if (raw := _read_base(name))), {})


@functools.cache
def _read_base(name: str) -> dict[str, Any]:
    path = config_root() / "_base_" / f"{name}.py"
    return read_literals(path) if path.is_file() else {}


def config_text(raw: Mapping[str, Any]) -> str:
    """A config as Python text that stands on its own, one top-level name after the other."""
    return "\n\n".join(f"{name} = {_literal(section, 0)}" for name, section in raw.items())


def _literal(value: Any, indent: int) -> str:
    """Python text of a value; a section, and what is long, has an item a line."""
    text = repr(value)
    if not isinstance(value, dict | list) or (indent and indent + len(text) < 90):
        return text
    if isinstance(value, dict):
        items = [f"{key!r}: {_literal(item, indent + 4)}" for key, item in value.items()]
    else:
        items = [_literal(item, indent + 4) for item in value]
    lines = "".join(f"{' ' * (indent + 4)}{item},\n" for item in items)
    return f"{text[0]}\n{lines}{' ' * indent}{text[-1]}"
