"""Intermediate representation -> the backend's files; one module a backend."""

from posedeploy.convert.registry import (
    built_for,
    conversion_availability,
    conversion_row,
    get_converter,
    missing_tools,
)
from posedeploy.convert.types import Converted, Converter, Declared

__all__ = [
    "Converted", "Converter", "Declared", "built_for", "conversion_availability",
    "conversion_row", "get_converter", "missing_tools",
]  # fmt: skip
