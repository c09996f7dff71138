"""Intermediate representation -> the backend's files; one module a backend."""

from posedeploy.convert.registry import (
    CONVERTERS,
    built_for,
    conversion_availability,
    get_converter,
    missing_tools,
)
from posedeploy.convert.types import Converted, Converter, Declared, Representation

__all__ = [
    "CONVERTERS",
    "Converted",
    "Converter",
    "Declared",
    "Representation",
    "built_for",
    "conversion_availability",
    "get_converter",
    "missing_tools",
]
