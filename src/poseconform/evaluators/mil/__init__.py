"""Saved CoreML packages evaluated without CoreML: the judge's own reading of the artifact.

A package holds a program in MIL, Apple's intermediate language, and its weights.  Evaluating it
with torch, operation by operation, checks what the conversion wrote: weights, layouts, attributes,
names.  It says nothing of Apple's runtime, and what is judged so is recorded with
`evaluator = mil-interpreter`.

What each operator means is in coremltools' own definitions of MIL
(`coremltools.converters.mil.mil.ops.defs`).
"""

from poseconform.evaluators.mil.facts import PackageFacts, package_facts
from poseconform.evaluators.mil.session import EVALUATOR, MilSession, load

__all__ = ["EVALUATOR", "MilSession", "PackageFacts", "load", "package_facts"]
