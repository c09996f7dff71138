"""Whether the fields of a deploy config that are read here have values of their kinds."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError


def _is_number(value: object) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)  # type: ignore[arg-type]


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_names(value: object) -> bool:
    listed = isinstance(value, list | tuple) and len(value) > 0
    return listed and all(isinstance(name, str) for name in value)  # type: ignore[attr-defined]


def _are_axes(value: object) -> bool:
    """As torch's `dynamic_axes`: name -> {axis: name}, or name -> [axis, …]."""
    return isinstance(value, dict) and all(
        isinstance(axes, dict | list | tuple) and all(map(_is_integer, axes))
        for axes in value.values()
    )


@dataclass(frozen=True)
class _Kind:
    expected: str
    fits: Callable[[Any], bool]


_AXES = _Kind("a dict of axes, such as {'input': {0: 'batch'}}", _are_axes)
_DICT = _Kind("a dict", lambda value: isinstance(value, dict))
_INTEGER = _Kind("an integer", _is_integer)
_NAMES = _Kind("a list of names", _are_names)
_NUMBER = _Kind("a number", _is_number)
_SHAPE = _Kind(
    "None or [W, H] in px",
    lambda value: (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(_is_integer(side) and side > 0 for side in value)
    ),
)
_WORD = _Kind("a word", lambda value: isinstance(value, str))

# ---- modify this table to add a field ------------------------------------------------------
# section -> field -> kind; '' for the section itself. None stands for a field that is not there.
_FIELDS: Mapping[str, Mapping[str, _Kind]] = {
    "backend_config": {
        "common_config": _DICT, "compute_capabilities": _NAMES, "precision": _WORD, "type": _WORD,
    },
    "calib_config": {"": _DICT},
    "codebase_config": {"post_processing": _DICT, "type": _WORD},
    "codebase_config.post_processing": {
        "iou_threshold": _NUMBER, "keep_top_k": _INTEGER, "max_output_boxes_per_class": _INTEGER,
        "pre_top_k": _INTEGER, "score_threshold": _NUMBER,
    },
    "ir_config": {
        "dynamic_axes": _AXES, "exporter": _WORD, "input_names": _NAMES, "input_shape": _SHAPE,
        "opset_version": _INTEGER, "output_names": _NAMES, "save_file": _WORD, "type": _WORD,
    },
}  # fmt: skip
# --------------------------------------------------------------------------------------------
# Fields that may be left out, and may not be None, for which no default stands.
_NOT_NONE = {"input_names", "output_names", "opset_version", *_FIELDS[
    "codebase_config.post_processing"]}  # fmt: skip


def check_fields(path: Path, raw: Mapping[str, Any]) -> None:
    """Raise BadInputError for a field of a deploy config (the file `path`) of another kind."""
    sections = dict(_FIELDS)
    sections["onnx_config"] = sections["ir_config"]
    for section, fields in sections.items():
        node: Any = raw
        for name in section.split("."):
            node = node.get(name) if isinstance(node, dict) else None
        if node is not None:
            _check_section(f"{path}: {section}", node, fields)


def _check_section(subject: str, node: Any, fields: Mapping[str, _Kind]) -> None:
    for name, kind in fields.items():
        if name and not (isinstance(node, dict) and name in node):
            continue
        value = node[name] if name else node
        if not kind.fits(value) and (value is not None or name in _NOT_NONE):
            where = f"{subject}.{name}" if name else subject
            raise BadInputError(where, reprlib.repr(value), kind.expected, "Change the field.")
