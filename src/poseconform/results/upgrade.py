"""`results.json` of older versions, brought to the form of this one when they are read.

Version 2 (from 1): `artefacts`, `pictures` and `quantised` are `artifacts`, `images` and
`quantized`; outputs have no `argmax_flips`, `benign_flips`, `keypoint_error_px` and `oks`, which
were never measured; a stage cannot be `skipped`.
"""

from __future__ import annotations

from typing import Any

from poseconform.results.errors import ReportError

SCHEMA_VERSION = 2
_RENAMED = {"artefacts": "artifacts", "pictures": "images", "quantised": "quantized"}
_NEVER_MEASURED = frozenset({"argmax_flips", "benign_flips", "keypoint_error_px", "oks"})


def upgraded(document: Any, subject: str) -> dict[str, Any]:
    """The content of a `results.json` of any version in the form of this one.

    Args:
        document: The parsed file.
        subject: Its name, for the message.

    Raises:
        ReportError: The version is not known.
    """
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version == SCHEMA_VERSION:
        return dict(document)
    if version != 1:
        raise ReportError(
            subject,
            "no schema_version" if version is None else f"schema_version {version!r}",
            f"schema_version 1 to {SCHEMA_VERSION}",
            "If it is a results.json, read it with the version of poseconform that wrote it.",
        )
    cells = _renamed(document.get("cells"))
    for cell in _dicts(cells):
        for output in _dicts(cell.get("outputs")):
            for name in _NEVER_MEASURED & output.keys():
                del output[name]
        if isinstance(cell.get("stages"), list):
            stages = [s for s in _dicts(cell["stages"]) if s.get("outcome") != "skipped"]
            cell["stages"] = stages
    return {**document, "schema_version": SCHEMA_VERSION, "cells": cells}


def _renamed(value: Any) -> Any:
    """A copy of `value` in which keys have the names of version 2."""
    if isinstance(value, dict):
        return {_RENAMED.get(name, name): _renamed(item) for name, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; what is none, or is no list, is for the reader to refuse."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
