"""Saved CoreML packages evaluated without CoreML: the judge's own reading of the files.

A package holds a program in MIL, Apple's intermediate language, and its weights. Evaluating it
with torch, operation by operation, checks the conversion: weights, layouts, attributes, names. It
proves nothing about Apple's runtime; results are recorded with `evaluator = mil-interpreter`.

The operators are defined in coremltools (`coremltools.converters.mil.mil.ops.defs`).
"""

from poseconform.evaluators.mil.session import load

__all__ = ["load"]
