"""The converters of the backends; a module is imported on use."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from typing import cast

from posedeploy.convert.types import Converter
from posedeploy.errors import BadInputError
from posedeploy.runtime import (
    Availability,
    BackendSpec,
    Code,
    backend_names,
    backend_row,
    get_runtime,
)
from posedeploy.runtime.host import is_installed


def conversion_row(backend: str, precision: str) -> BackendSpec:
    """The row of a backend; BadInputError if it is unknown or has no recipe for the precision."""
    if backend not in backend_names():
        raise BadInputError(
            "backend_config.type", repr(backend),
            "a backend that can be converted to: " + ", ".join(backend_names()),
            "Choose another deploy config.",
        )  # fmt: skip
    row = backend_row(backend)
    if precision not in row.precisions:
        raise BadInputError(
            f"precision of the {backend} deploy config", precision,
            "a precision with a recipe: " + ", ".join(row.precisions),
            "Choose another deploy config.",
        )  # fmt: skip
    return row


def get_converter(backend: str, precision: str) -> Converter:
    """The converter of a backend; raises as `conversion_row`."""
    module = importlib.import_module(conversion_row(backend, precision).converter)
    return cast("Converter", module)


def _is_tool(name: str) -> bool:
    return is_installed(name) or shutil.which(name) is not None


def missing_tools(backend: str, is_tool: Callable[[str], bool] = _is_tool) -> tuple[str, ...]:
    """What converting for a backend needs and is not installed; nothing for unknown backends."""
    tools = backend_row(backend).tools if backend in backend_names() else ()
    return tuple(tool for tool in tools if not is_tool(tool))


def conversion_availability(
    backend: str,
    running: Availability | None = None,
    is_tool: Callable[[str], bool] = _is_tool,
) -> Availability:
    """Whether this machine can convert for a backend, which it may where it cannot run it.

    `running` is whether it can run here; None probes.
    """
    availability = running or get_runtime(backend).probe()
    if not availability.ok and availability.code not in backend_row(backend).converts_without:
        return availability
    if missing := ", ".join(missing_tools(backend, is_tool)):
        reason = f"no {missing}, which converts for {backend}"
        return Availability(Code.TOOL_MISSING, reason, availability.version)
    return Availability(Code.AVAILABLE, "", availability.version)


def built_for(backend: str) -> dict[str, str]:
    """What of this machine a backend's files are tied to; nothing for files that run anywhere."""
    module = backend_row(backend).target
    return dict(importlib.import_module(module).target()) if module else {}
