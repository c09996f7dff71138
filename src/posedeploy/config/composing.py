"""New deploy configs by the naming grammar, made of what the collection's own configs hold.

What a backend needs to be told at a precision, and what a head kind's graph puts out, is written
in `deploy_configs/` once; a new config takes its backend part from a config of the same backend
and precision, its model part from one of the same head kind, and its shape from the name.
"""

from __future__ import annotations

import copy
import pprint
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posedeploy.config.deploy_config import DeployConfig, list_deploy_configs, load_deploy_config
from posedeploy.config.naming import DeployConfigName, parse_name
from posedeploy.errors import BadInputError, did_you_mean

STRIDE = 32  # the coarsest stride of the backbones of the support table
# (smallest, usual, largest) batch that an engine with a dynamic batch is built for, as MMDeploy's
# configs have it
BATCHES = {"min_shape": 1, "opt_shape": 2, "max_shape": 4}


def compose(name: DeployConfigName) -> str:
    """The text of a new deploy config; it stands on its own, without `_base_` files.

    Raises:
        BadInputError: No config of the collection shows how such a one is made, or the shape is
            missing or not a multiple of the stride.
    """
    backend, model = _templates(name)
    _check_shape(name)
    ir_key = "ir_config" if "ir_config" in model.raw else "onnx_config"
    raw = {
        ir_key: copy.deepcopy(dict(model.raw[ir_key])),
        "codebase_config": copy.deepcopy(dict(model.raw["codebase_config"])),
        "backend_config": copy.deepcopy(dict(backend.raw["backend_config"])),
    }
    if "calib_config" in backend.raw:
        raw["calib_config"] = copy.deepcopy(dict(backend.raw["calib_config"]))
    _set_ir(raw[ir_key], name)
    _set_inputs(raw["backend_config"], name)
    return _as_text(raw, name)


def _check_shape(name: DeployConfigName) -> None:
    if name.shape is None:
        if all(parse_name(other).shape for other in _of(name.backend)):
            raise BadInputError(
                "--shape", "none", f"HxW: every config of {name.backend} has a fixed shape",
                "Say it as --shape 256x192 (height x width).",
            )  # fmt: skip
        return
    if bad := [side for side in name.shape if side % STRIDE]:
        near = "x".join(str(max(STRIDE, round(side / STRIDE) * STRIDE)) for side in name.shape)
        raise BadInputError(
            "--shape", f"{name.shape[0]}x{name.shape[1]}: {bad[0]} is no multiple of {STRIDE}",
            f"height x width in multiples of {STRIDE}, the stride of the backbones",
            f"Use --shape {near}; the model config must have the same shape.",
        )  # fmt: skip


def _of(backend: str, precision: str | None = None) -> list[str]:
    """Names in the collection of a backend, and of a precision."""
    parsed = {name: parse_name(name) for name in list_deploy_configs()}
    return [
        name
        for name, said in parsed.items()
        if said.backend == backend and precision in {None, said.precision} and not said.option
    ]


def _templates(name: DeployConfigName) -> tuple[DeployConfig, DeployConfig]:
    """A config of the same backend and precision, and one of the same head kind."""
    same = _of(name.backend, name.precision)
    if not same:
        raise _without_example(name)
    kin = [other for other in _of(name.backend) if parse_name(other).variant == name.variant]
    if not kin:
        raise BadInputError(
            "--head", name.variant or "heatmap", f"a head kind {name.backend} has configs for",
            f"Look at them: posedeploy configs list --backend {name.backend}",
        )  # fmt: skip
    return load_deploy_config(_nearest(name, same)), load_deploy_config(_nearest(name, kin))


def _without_example(name: DeployConfigName) -> BadInputError:
    said = [parse_name(other) for other in list_deploy_configs()]
    names = sorted({other.backend for other in said})
    if name.backend not in names:
        return BadInputError(
            "--backend", name.backend, "a backend that `posedeploy backends` shows",
            did_you_mean(name.backend, names),
        )  # fmt: skip
    known = sorted({other.precision for other in said if other.backend == name.backend})
    return BadInputError(
        "--precision", f"{name.precision} for {name.backend}",
        f"one that {name.backend} has deploy configs of: {', '.join(known)}",
        "Choose one of these.",
    )  # fmt: skip


def _nearest(name: DeployConfigName, names: Sequence[str]) -> str:
    """The name most like another: what a backend is told depends on the batch first of all."""

    def likeness(other: str) -> tuple[bool, bool, bool]:
        said = parse_name(other)
        return (
            said.shape_mode == name.shape_mode,
            (said.shape is None) == (name.shape is None),
            said.variant == name.variant,
        )

    return max(names, key=likeness)


def _set_ir(ir: dict[str, Any], name: DeployConfigName) -> None:
    ir["input_shape"] = [name.shape[1], name.shape[0]] if name.shape else None
    ir.pop("dynamic_axes", None)
    if name.shape_mode == "dynamic":
        tensors = [*ir["input_names"], *ir["output_names"]]
        ir["dynamic_axes"] = {tensor: {0: "batch"} for tensor in tensors}


def _set_inputs(backend: dict[str, Any], name: DeployConfigName) -> None:
    """The shapes in `model_inputs`, which every backend nests differently."""
    if name.shape is None:
        backend.pop("model_inputs", None)
    elif "model_inputs" in backend:
        backend["model_inputs"] = _reshaped(backend["model_inputs"], name, "")


def _reshaped(node: Any, name: DeployConfigName, key: str) -> Any:
    if isinstance(node, dict):
        return {inner: _reshaped(value, name, inner) for inner, value in node.items()}
    if isinstance(node, list | tuple):
        if len(node) == 4 and all(isinstance(side, int) for side in node) and name.shape:
            batch = BATCHES.get(key, 1) if name.shape_mode == "dynamic" else 1
            return [batch, node[1], *name.shape]
        return [_reshaped(value, name, key) for value in node]
    return node


def config_text(raw: Mapping[str, Any]) -> str:
    """A config as Python text, one top-level name after the other."""
    return "\n\n".join(f"{name} = {_section_text(section)}" for name, section in raw.items())


def _section_text(section: Any) -> str:
    if not isinstance(section, Mapping):
        return pprint.pformat(section, width=90, sort_dicts=False)
    lines = []
    for key, value in section.items():
        text = pprint.pformat(value, width=90, sort_dicts=False).replace("\n", "\n    ")
        lines.append(f"    {key!r}: {text},\n")
    return f"{{\n{''.join(lines)}}}"


def _as_text(raw: Mapping[str, Any], name: DeployConfigName) -> str:
    """The text, read again and compared with its name."""
    text = f"# {name}: made by `posedeploy configs new`\n{config_text(raw)}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        read = load_deploy_config(path)
    shape = (read.input_shape[1], read.input_shape[0]) if name.shape and read.input_shape else None
    content = DeployConfigName(read.variant, read.backend, read.precision, read.shape_mode, shape)
    if content != name:
        raise BadInputError(
            str(name), f"a config that its own content would call {content}",
            "a name that the content agrees with",
            f"Copy a config of {name.backend} and change it by hand.",
        )  # fmt: skip
    return text
