"""Intermediate representation -> the backend's files; one module a backend."""

from .registry import CONVERTERS, get_converter
from .types import Converted, Converter

__all__ = ["CONVERTERS", "Converted", "Converter", "get_converter"]
