"""Intermediate representation -> the backend's files; one module a backend."""

from .registry import CONVERTERS, get_converter, missing_tools
from .types import Converted, Converter, Representation

__all__ = [
    "CONVERTERS",
    "Converted",
    "Converter",
    "Representation",
    "get_converter",
    "missing_tools",
]
