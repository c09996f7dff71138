"""Settings of an engine's build: what the deploy config asks for, as this TensorRT takes it.

From 10.12 on, builder flags for precisions are deprecated, and 11 has none: there the graph's own
types decide ("strongly typed").  Older versions get the flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from packaging.version import Version

from posedeploy.config import DeployConfig
from posedeploy.errors import BadInputError
from posedeploy.runtime import StoredPrecision

FIRST_STRONGLY_TYPED = Version("10.12")
# Precision -> names of the builder flags that allow it where types do not decide
LEGACY_FLAGS: Mapping[str, tuple[str, ...]] = {"fp16": ("FP16",), "fp32": (), "int8": ("INT8",)}
# Batches of a profile that the deploy config leaves open: those of MMDeploy's own configs
DEFAULT_BATCHES = (1, 2, 4)
_SHAPES = ("min_shape", "opt_shape", "max_shape")
Shape = tuple[int, ...]


class Profile(NamedTuple):
    """Shapes of one input, NCHW: the smallest, the one the engine is tuned for, the largest."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class BuildSettings:
    """Settings of the builder.

    Attributes:
        precision: Precision of the graph's weights.
        workspace: Limit of scratch memory, bytes; 0 for TensorRT's default, all of the device's.
        strongly_typed: True if the graph's types decide and no flag does.
        flags: Names of `BuilderFlag`s to set.
        profiles: Input name -> shapes, for inputs that are dynamic.
    """

    precision: StoredPrecision
    workspace: int
    strongly_typed: bool
    flags: tuple[str, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)


def is_strongly_typed(version: str, flags: Sequence[str]) -> bool:
    """True if a TensorRT of this version and these builder flags takes types from the graph."""
    return "FP16" not in flags or Version(version) >= FIRST_STRONGLY_TYPED


def build_settings(
    deploy_config: DeployConfig, inputs: Mapping[str, Sequence[int | str]], strongly_typed: bool
) -> BuildSettings:
    """What `common_config` and `model_inputs` of a deploy config mean for the builder.

    Shapes of the graph's inputs have a name in place of a dynamic dimension.

    Raises:
        BadInputError: A profile is incomplete, or does not fit the graph.
    """
    backend: Mapping[str, Any] = deploy_config.raw["backend_config"]
    common: Mapping[str, Any] = backend.get("common_config") or {}
    flags = () if strongly_typed else LEGACY_FLAGS[deploy_config.precision]
    if flags and common.get("fp16_mode") and "FP16" not in flags:
        flags = (*flags, "FP16")
    entries = backend.get("model_inputs") or [{}]
    given: Mapping[str, Any] = entries[0].get("input_shapes") or {}
    where = f"{deploy_config.path}: backend_config.model_inputs"
    return BuildSettings(
        precision=StoredPrecision(deploy_config.precision),
        workspace=int(common.get("max_workspace_size", 0)),
        strongly_typed=strongly_typed,
        flags=flags,
        profiles={
            name: _profile(where, name, shape, given.get(name))
            for name, shape in inputs.items()
            if not all(isinstance(dim, int) for dim in shape)
        },
    )


def _profile(
    where: str, name: str, shape: Sequence[int | str], given: Mapping[str, Any] | None
) -> Profile:
    """The profile of one input; only its batch may be dynamic."""
    if given is None:
        sizes = tuple(int(dim) for dim in shape[1:])
        return Profile(*((batch, *sizes) for batch in DEFAULT_BATCHES))
    missing = [key for key in _SHAPES if key not in given]
    if missing:
        raise BadInputError(
            f"{where}: {name}", f"no {', '.join(missing)}", f"all of {', '.join(_SHAPES)}",
            "Add what is missing.",
        )  # fmt: skip
    shapes = tuple(tuple(int(size) for size in given[key]) for key in _SHAPES)
    fits = {len(s) for s in shapes} == {len(shape)} and all(
        low <= opt <= high and (isinstance(dim, str) or low == high == dim)
        for low, opt, high, dim in zip(*shapes, shape, strict=True)
    )
    if not fits:
        listed = ", ".join(f"{key} {list(s)}" for key, s in zip(_SHAPES, shapes, strict=True))
        raise BadInputError(
            f"{where}: {name}", listed, f"min <= opt <= max, and the graph's sizes {list(shape)}",
            "Only the batch may change: height and width are the model's.",
        )  # fmt: skip
    return Profile(*shapes)
