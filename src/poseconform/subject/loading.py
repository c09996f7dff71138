"""The implementation under test, from the `module:object` of `--subject`."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import cast

from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell, Model
from poseconform.subject.protocol import Conversion, Subject

DEFAULT_SUBJECT = "poseconform.subject.posedeploy_subject:PosedeploySubject"
METHODS = tuple(name for name in vars(Subject) if not name.startswith("_"))


class SubjectError(ValueError):
    """The value of `--subject` names no implementation."""

    def __init__(self, spec: str, reason: str) -> None:
        super().__init__(
            f"--subject {spec}: {reason}; expected module:object, the object an instance, a class "
            "or a function without arguments that gives one, with the methods of "
            "poseconform.subject.protocol.Subject"
        )


@cache
def load_subject(spec: str = DEFAULT_SUBJECT) -> Subject:
    """The subject that 'module:object' names; one a process. A class or a function is called.

    A `SubjectError` if there is no such module or object, or it lacks methods.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise SubjectError(spec, "found no 'module:object'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # of something that the module imports
        raise SubjectError(spec, f"found no module {error.name!r}") from error
    if not hasattr(module, name):
        raise SubjectError(spec, f"found no {name!r} in {module_name}")
    value = getattr(module, name)
    factory = callable(value) and (isinstance(value, type) or not hasattr(value, "convert"))
    subject = value() if factory else value
    if missing := [method for method in METHODS if not hasattr(subject, method)]:
        raise SubjectError(spec, f"found an object without {', '.join(missing)}")
    return cast("Subject", subject)


def checkpoint_for(spec: str, model: Model) -> str:
    """`Subject.checkpoint_for`, called by name in a child process."""
    return load_subject(spec).checkpoint_for(model)


def convert(spec: str, cell: Cell, checkpoint: str, exporter: str, cache_root: str) -> Conversion:
    """`Subject.convert`, called by name in a child process."""
    subject = load_subject(spec)
    return subject.convert(cell, checkpoint, exporter, ArtifactCache(Path(cache_root)))
