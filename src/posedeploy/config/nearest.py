"""The deploy config that a name of another form may have meant, word by word.

A name that is near as a text is often another one: 'ort' is nearer to 'torchscript' than to
'onnxruntime', 'rtmpose' nearer to 'rtmo' than to the 'simcc' heads that RTMPose has.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from posedeploy.config.model_config import FAMILIES
from posedeploy.config.naming import (
    DEFAULT_PRECISION,
    OPTIONS,
    SHAPE_MODES,
    DeployConfigName,
    conflict,
    precisions,
)
from posedeploy.heads import HEADS, head_of_mmpose, head_words
from posedeploy.runtime import registry

# ---- modify these tables to know other words -----------------------------------------------
# fmt: off
BACKENDS = {"onnx": "onnxruntime", "ort": "onnxruntime", "ov": "openvino", "trt": "tensorrt",
            "trt-rtx": "tensorrt-rtx", "ts": "torchscript"}
PRECISIONS = {"bfloat16": "bf16", "float": "fp32", "float16": "fp16", "float32": "fp32",
              "half": "fp16"}
# Backends of MMDeploy that this project does not have.
FOREIGN = ("ascend", "rknn", "sdk", "snpe", "tvm", "vacc")
# fmt: on
# --------------------------------------------------------------------------------------------
_NEAR = 0.75  # similarity of a mistyped word, as difflib has it


def families() -> dict[str, str]:
    """Kinds of heads by the families and MMPose head types that they belong to, lower case."""
    kinds = {name: head.kind for head in HEADS for name in head.mmpose_heads}
    named = {
        family: kind.kind for (head, _), family in FAMILIES.items()
        if (kind := head_of_mmpose(head)) is not None
    }  # fmt: skip
    return {word.lower(): kind for word, kind in {**kinds, **named}.items()}


def nearest_name(text: str) -> str | None:
    """The name of a deploy config that the words of a text make; None where they make none."""
    rest = re.sub(r"^(?:pose)?[_-]?(?:detection)?[_-]", "", text.lower().removesuffix(".py"))
    shape = re.search(r"[_-](\d+)x(\d+)$", rest)
    words = _words(rest[: shape.start()] if shape else rest)
    found: dict[str, str] = {}
    for word in words:
        part = _part(word)
        if part is None or part[0] in found:
            return None
        found[part[0]] = part[1]
    if "backend" not in found:
        return None
    row = registry.backend_row(found["backend"])
    name = DeployConfigName(
        found.get("head", ""), row.name, found.get("precision", DEFAULT_PRECISION),
        found.get("mode", SHAPE_MODES[1 if row.dynamic_batch and not shape else 0]),
        (int(shape[1]), int(shape[2])) if shape else None, found.get("option", ""),
    )  # fmt: skip
    return None if conflict(name) else str(name)


def foreign_backend(text: str) -> str | None:
    """The backend of MMDeploy in a name that this project does not have; None if there is none."""
    return next((word for word in re.split(r"[_-]", text.lower()) if word in FOREIGN), None)


def _words(text: str) -> list[str]:
    """The words between the separators; heads and backends with one in them are one word."""
    known = (*head_words(), *families(), *registry.backend_names(), *BACKENDS)
    joined = {word for word in known if "-" in word}
    pattern = "|".join([*(re.escape(word) for word in sorted(joined)), "[^_-]+"])
    return re.findall(pattern, text.replace("yolox_pose", "yolox-pose"))


def _part(word: str) -> tuple[str, str] | None:
    """The part of a name that a word is of, and how it is written there."""
    by_kind = {head.kind: head.word for head in HEADS}
    words = {word: word for word in head_words() if word}
    parts: Mapping[str, Mapping[str, str]] = {
        "backend": {**{name: name for name in registry.backend_names()}, **BACKENDS},
        "head": {**words, **by_kind, **{word: by_kind[kind] for word, kind in families().items()}},
        "mode": {mode: mode for mode in SHAPE_MODES},
        "option": {option: option for option in OPTIONS},
        "precision": {**{name: name for name in precisions()}, **PRECISIONS},
    }
    for part, known in parts.items():
        if word in known:
            return part, known[word]
    every = {word: (part, right) for part, known in parts.items() for word, right in known.items()}
    near = difflib.get_close_matches(word, every, n=1, cutoff=_NEAR)
    return every[near[0]] if near else None
