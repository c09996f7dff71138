"""The validator's findings, and its checks: one module for each thing that they look at.

Each check takes what was read and yields findings; none raises for what it finds in a folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from posedeploy.errors import PoseDeployError

_SUBJECT = re.compile(r"(?P<file>[\w.-]+): (?P<path>\$.*)", re.DOTALL)


class Level(StrEnum):
    """How severe a finding is."""

    ERROR = "error"  # a client dies, refuses the folder, or gives wrong keypoints
    WARNING = "warning"  # keypoints may differ, or something could not be checked
    NOTE = "note"  # nothing is wrong: what the folder does not let anyone check


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a folder."""

    level: Level
    file: str  # name of the file it is about; '' for the folder
    path: str  # JSON path in that file; '' where it is about the whole file
    found: str  # what was found there
    expected: str  # what would have been right
    consequence: str = ""  # what a client makes of it; '' where `expected` explains it

    def __str__(self) -> str:
        place = " ".join(part for part in (self.file, self.path) if part) or "folder"
        why = f" ({self.consequence})" if self.consequence else ""
        return f"{self.level}: {place}: found {self.found}; expected {self.expected}{why}"


def error(file: str, path: str, found: str, expected: str, consequence: str = "") -> Finding:
    """A finding of level `ERROR`."""
    return Finding(Level.ERROR, file, path, found, expected, consequence)


def warning(file: str, path: str, found: str, expected: str, consequence: str = "") -> Finding:
    """A finding of level `WARNING`."""
    return Finding(Level.WARNING, file, path, found, expected, consequence)


def note(file: str, path: str, found: str, expected: str, consequence: str = "") -> Finding:
    """A finding of level `NOTE`."""
    return Finding(Level.NOTE, file, path, found, expected, consequence)


def from_exception(problem: PoseDeployError, file: str, consequence: str = "") -> Finding:
    """An error that was raised, as a finding about the place that its subject names.

    A subject is 'file: JSON path' for a place in a file; for others it is about `file`.
    """
    place = _SUBJECT.fullmatch(problem.subject)
    file, path = (place["file"], place["path"]) if place else (file, "")
    return error(file, path, problem.found, problem.expected, consequence)
