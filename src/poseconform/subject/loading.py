"""The implementation under test, from the `module:object` of `--subject`.

Options of a class or a function follow as in an address: `module:Class?name=value&other=value`.
They are keyword arguments, of type str; `%26` stands for `&` in a value.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell, Model
from poseconform.subject.protocol import Conversion, Subject

DEFAULT_SUBJECT = "poseconform.subject.posedeploy_subject:PosedeploySubject"
METHODS = tuple(name for name in vars(Subject) if not name.startswith("_"))


class SubjectError(ValueError):
    """The value of `--subject` names no implementation."""

    def __init__(self, spec: str, reason: str) -> None:
        super().__init__(
            f"--subject {spec}: {reason}; expected module:object, with options "
            "module:object?name=value&…, the object an instance, a class or a function that gives "
            "one, with the methods of poseconform.subject.protocol.Subject"
        )


@cache
def load_subject(spec: str = DEFAULT_SUBJECT) -> Subject:
    """The subject that 'module:object' names; one a process.

    A class or a function is called, with the options that follow a '?' as keyword arguments.
    A `SubjectError` if there is no such module or object, it takes no such options, or it lacks
    methods.
    """
    place, _, query = spec.partition("?")
    module_name, _, name = place.partition(":")
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
    subject = _made(spec, getattr(module, name), _options(spec, query))
    if missing := [method for method in METHODS if not hasattr(subject, method)]:
        raise SubjectError(spec, f"found an object without {', '.join(missing)}")
    return cast("Subject", subject)


def _options(spec: str, query: str) -> dict[str, str]:
    """The options of a spec: 'a=1&b=2'."""
    pairs = [word.partition("=") for word in query.split("&") if word]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise SubjectError(spec, f"found no '=' in {wrong[0]!r}")
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _made(spec: str, value: Any, options: dict[str, str]) -> object:
    """What a class or a function gives for the options; an instance takes none."""
    if not callable(value) or not (isinstance(value, type) or not hasattr(value, "convert")):
        if options:
            raise SubjectError(spec, f"found options {', '.join(options)} of an instance")
        return value
    try:
        inspect.signature(value).bind(**options)
    except TypeError as error:
        raise SubjectError(spec, f"it does not take these options: {error}") from error
    return value(**options)


def checkpoint_for(spec: str, model: Model) -> str:
    """`Subject.checkpoint_for`, called by name in a child process."""
    return load_subject(spec).checkpoint_for(model)


def convert(spec: str, cell: Cell, checkpoint: str, exporter: str, cache_root: str) -> Conversion:
    """`Subject.convert`, called by name in a child process."""
    subject = load_subject(spec)
    return subject.convert(cell, checkpoint, exporter, ArtifactCache(Path(cache_root)))
