"""The naming grammar of deploy configs: a parser and a printer.

    pose-detection[_{head}]_{backend}[-{precision}][-{option}]_{static,dynamic}[-{H}x{W}]

Heads are the words of `posedeploy.heads`, backends and their precisions the rows of
`posedeploy.runtime.registry`. "dynamic" means a dynamic batch; height and width are always fixed.
A name has H x W, `input_shape` in the config has [W, H]; both are MMDeploy's convention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from posedeploy.heads import HEADS, KEYPOINTS, HeadSpec, head_of_word, head_words
from posedeploy.runtime import ComputePrecision, registry

TASK = "pose-detection"
DEFAULT_PRECISION = "fp32"  # not written in a name
SHAPE_MODES = ("static", "dynamic")


@dataclass(frozen=True)
class Option:
    """A word for flows that differ from the other flows of a backend."""

    backend: str = ""  # '' for every backend
    precisions: tuple[str, ...] = ()  # those of the backend that have it; () for all
    stage: str = ""  # that graphs end at, for heads that have it; '' for every head
    # Fields that it sets
    backend_config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    codebase_config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    max_pre_top_k: int = 0  # limit of post_processing.pre_top_k; 0 for none

    def ends(self, head: HeadSpec) -> bool:
        """True if graphs of a head kind can end where those of the option do."""
        return not self.stage or self.stage in {stage.name for stage in head.stages}


# ---- modify this table to add an option ------------------------------------------------------
# fmt: off
OPTIONS: Mapping[str, Option] = {
    # computes in float16, where the other fp16 flows store weights in it and compute in float32
    "f16": Option("openvino", ("fp16",), backend_config={"inference_precision": "f16"}),
    # the codec's decoding in the graph of a top-down model, where the others leave it to the host;
    # bf16 holds no odd integer above 256
    "keypoints": Option("", ("fp32", "fp16", "int8"), KEYPOINTS,
                        codebase_config={"export_postprocess": True}),
    # non-maximum suppression in the graph, where the other flows leave it to the host;
    # TensorRT's TopK takes 3840 at most
    "nms": Option("tensorrt", ("fp32", "fp16", "int8"), "nms", {"stage": "nms"},
                  max_pre_top_k=3840),
}
# fmt: on
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeployConfigName:
    """The parts of a deploy config's name."""

    variant: str  # word of the head kind; '' for heatmap models
    backend: str
    precision: str
    shape_mode: str  # 'static' or 'dynamic' (batch)
    shape: tuple[int, int] | None = None  # (H, W) in input px
    option: str = ""  # a word of OPTIONS

    def __str__(self) -> str:
        variant = f"_{self.variant}" if self.variant else ""
        precision = f"-{self.precision}" if self.precision != DEFAULT_PRECISION else ""
        shape = f"-{self.shape[0]}x{self.shape[1]}" if self.shape else ""
        option = f"-{self.option}" if self.option else ""
        return f"{TASK}{variant}_{self.backend}{precision}{option}_{self.shape_mode}{shape}"


# Names of MMDeploy that do not follow the grammar, and their parts.
IRREGULAR = {"pose-detection_torchscript": DeployConfigName("", "torchscript", "fp32", "static")}


def precisions() -> tuple[str, ...]:
    """Every precision that a backend has, in the order of `ComputePrecision`."""
    of_rows = {word for row in registry.BACKENDS for word in row.precisions}
    return tuple(word.value for word in ComputePrecision if word in of_rows)


def grammar() -> str:
    """The grammar in one line, with its words."""
    heads = ",".join(word for word in head_words() if word)
    lower = ",".join(word for word in precisions() if word != DEFAULT_PRECISION)
    return (
        f"{TASK}[_{{{heads}}}]_{{backend}}[-{{{lower}}}][-{{{','.join(OPTIONS)}}}]"
        f"_{{{','.join(SHAPE_MODES)}}}[-{{H}}x{{W}}]"
    )


def parse_name(name: str) -> DeployConfigName:
    """Read a deploy config's name (with or without '.py').

    Raises:
        ValueError: It does not follow the grammar, or its parts do not go together.
    """
    parsed = split_name(name)
    if parsed is None:
        raise ValueError(f"{name!r} is not a deploy config's name; expected {grammar()}")
    if wrong := conflict(parsed):
        found, expected = wrong
        raise ValueError(
            f"{name!r} is not a deploy config's name: found {found}; expected {expected}"
        )
    return parsed


def split_name(name: str) -> DeployConfigName | None:
    """The parts of a name; None if it does not follow the grammar."""
    stem = name.removesuffix(".py")
    if stem in IRREGULAR:
        return IRREGULAR[stem]
    match = re.fullmatch(_pattern(), stem)
    if match is None:
        return None
    shape = (int(match["height"]), int(match["width"])) if match["height"] else None
    return DeployConfigName(
        match["variant"] or "", match["backend"], match["precision"] or DEFAULT_PRECISION,
        match["shape_mode"], shape, match["option"] or "",
    )  # fmt: skip


def _pattern() -> str:
    lower = [word for word in precisions() if word != DEFAULT_PRECISION]
    return (
        rf"{TASK}"
        rf"(?:_(?P<variant>{_either(filter(None, head_words()))}))?"
        rf"_(?P<backend>{_either(registry.backend_names())})"
        rf"(?:-(?P<precision>{_either(lower)}))?"
        rf"(?:-(?P<option>{_either(OPTIONS)}))?"
        rf"_(?P<shape_mode>{_either(SHAPE_MODES)})"
        r"(?:-(?P<height>[1-9][0-9]{0,4})x(?P<width>[1-9][0-9]{0,4}))?"
    )


def _either(words: Iterable[str]) -> str:
    """A pattern for one of the words, the longest first: one may begin like another."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def conflict(name: DeployConfigName) -> tuple[str, str] | None:
    """The part of a name that its other parts rule out, and what fits; None if all fit."""
    row = registry.backend_row(name.backend)
    if name.precision not in row.precisions:
        words = ", ".join(row.precisions)
        return f"precision {name.precision}", f"one that {row.name} has: {words}"
    if name.shape_mode == "dynamic" and not row.dynamic_batch:
        return "a dynamic batch", f"static: files of {row.name} take one batch size"
    return _option_conflict(name, row) if name.option else None


def _option_conflict(name: DeployConfigName, row: registry.BackendSpec) -> tuple[str, str] | None:
    option = OPTIONS[name.option]
    if why := dict(row.lacks).get(option.stage):
        return f"option {name.option}", f"none: {why}"
    backend, precisions = option.backend or name.backend, option.precisions or row.precisions
    if name.backend != backend or name.precision not in precisions:
        words = ", ".join(option.precisions)
        return f"option {name.option}", f"it for {backend} with {words} alone"
    if option.ends(head_of_word(name.variant)):
        return None
    kinds = ", ".join(head.word or head.kind for head in HEADS if option.ends(head))
    return f"option {name.option}", f"it for {kinds} alone"
