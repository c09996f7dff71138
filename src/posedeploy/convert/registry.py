"""The converters: one row a backend. A module is imported on use."""

from __future__ import annotations

import importlib
import shutil
from typing import cast

from posedeploy.convert.types import Converter
from posedeploy.errors import BadInputError
from posedeploy.runtime import Availability, Code, get_runtime
from posedeploy.runtime.probing import is_installed

# ---- modify this table to add a backend ----------------------------------------------------
CONVERTERS: dict[str, str] = {
    "coreml": "coreml",
    "ncnn": "ncnn",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "pplnn": "pplnn.converter",
    "tensorrt": "tensorrt.converter",
    "torchscript": "torchscript",
}
# Backends whose files can be written where they cannot be run, and the reasons for not running
# that do not matter then.
CONVERTS_WITHOUT: dict[str, frozenset[Code]] = {
    "coreml": frozenset({Code.WRONG_OS}),
    # it is converted with onnx alone
    "pplnn": frozenset(
        {Code.NOT_INSTALLED, Code.BROKEN_INSTALL, Code.VERSION_TOO_OLD, Code.NO_DEVICE}
    ),
}
# Backends whose files run only on machines like the one that wrote them -> the module whose
# `target` says what has to be alike.
TARGETS: dict[str, str] = {"tensorrt": "posedeploy.runtime.tensorrt.probe"}
# ---------------------------------------------------------------------------------------------


def get_converter(backend: str, precision: str) -> Converter:
    """The converter of a backend.

    Raises:
        BadInputError: There is none, or it has no recipe for the precision.
    """
    if backend not in CONVERTERS:
        raise BadInputError(
            "backend_config.type",
            repr(backend),
            "a backend that can be converted to: " + ", ".join(sorted(CONVERTERS)),
            "Choose another deploy config.",
        )
    module = importlib.import_module(f"{__package__}.{CONVERTERS[backend]}")
    converter = cast("Converter", module.CONVERTER)
    if precision not in converter.precisions:
        raise BadInputError(
            f"precision of the {backend} deploy config",
            precision,
            "a precision with a recipe: " + ", ".join(converter.precisions),
            "Choose another deploy config.",
        )
    return converter


def missing_tools(backend: str) -> tuple[str, ...]:
    """What converting for a backend needs and is not there; nothing where there is no recipe."""
    if backend not in CONVERTERS:
        return ()
    module = importlib.import_module(f"{__package__}.{CONVERTERS[backend]}")
    converter = cast("Converter", module.CONVERTER)
    return tuple(t for t in converter.tools if not is_installed(t) and shutil.which(t) is None)


def conversion_availability(backend: str) -> Availability:
    """Whether this machine can convert for a backend, which it may where it cannot run it."""
    found = get_runtime(backend).probe()
    if not found.ok and found.code not in CONVERTS_WITHOUT.get(backend, ()):
        return found
    if missing := ", ".join(missing_tools(backend)):
        reason = f"no {missing}, which converts for {backend}"
        return Availability(Code.TOOL_MISSING, reason, found.version)
    return Availability(Code.AVAILABLE, "", found.version)


def built_for(backend: str) -> dict[str, str]:
    """What of this machine a backend's files are tied to; nothing for files that run anywhere."""
    if backend not in TARGETS:
        return {}
    found: dict[str, str] = importlib.import_module(TARGETS[backend]).target()
    return found
