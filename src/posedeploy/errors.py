"""Errors that are written for a person.

Every message names the file or the option, what was found, what was expected and what to
do next.  The command line turns the class into its exit code; nobody parses the text.

Exit codes: 0 fine; 1 the result is bad; 2 bad input; 3 unavailable here; 4 nothing to compare, so
that nothing is proven; 70 an error of this program's own (`cli.internal`); 130 interrupted.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, overload


class PoseDeployError(Exception):
    """An error with four parts: subject, found, expected, next step.

    Args:
        subject: The file, option or value the error is about.
        found: What was found there.
        expected: What would have been right.
        next_step: The next thing to do, as a sentence.
    """

    exit_code: ClassVar[int] = 1
    # Stem of the argument that was wrong, and what to write for it; the next step ends with that.
    instead: tuple[str, str] | None = None
    stage: str = ""  # of the conversion at which it was raised: 'export', 'convert', …; '' outside

    def __init__(self, subject: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(subject, found, expected, next_step)
        self.subject = subject
        self.found = found
        self.expected = expected
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.subject}: found {self.found}; expected {self.expected}. {self.next_step}"


class BadInputError(PoseDeployError):
    """What the user gave cannot be used: a missing file, a wrong config, a wrong checkpoint."""

    exit_code = 2


class UnavailableError(PoseDeployError):
    """A backend, a package, a tool or a device is not usable on this machine."""

    exit_code = 3


class NothingProvenError(PoseDeployError):
    """Everything ran, and there was nothing to judge by: neither right nor wrong is shown."""

    exit_code = 4


class ConversionError(PoseDeployError):
    """The input was fine and the conversion failed, at the stage that `stage` names."""

    def __init__(
        self, stage: str, subject: str, found: str, expected: str, next_step: str
    ) -> None:
        super().__init__(subject, found, expected, next_step)
        self.args = (stage, subject, found, expected, next_step)  # so that it pickles
        self.stage = stage


# ---- modify this table to add an error of the file system ----------------------------------
# errno -> (class, expected, next step)
# fmt: off
_ROOM = (UnavailableError, "room for what is written", "Free some space, or choose another place.")
_ACCESS = (BadInputError, "a place that can be read and written",
           "Choose another place, or change its permissions.")
_REFUSALS: dict[int, tuple[type[PoseDeployError], str, str]] = {
    errno.EACCES:       _ACCESS,
    errno.EDQUOT:       _ROOM,
    errno.EEXIST:       (BadInputError, "a folder, or nothing yet", "Move what is there."),
    errno.EFBIG:        _ROOM,
    errno.EISDIR:       (BadInputError, "a file, or nothing yet", "Move what is there."),
    errno.ELOOP:        (BadInputError, "a link that leads to a file", "Check the links."),
    errno.ENAMETOOLONG: (BadInputError, "a name that the file system takes", "Shorten it."),
    errno.ENOENT:       (BadInputError, "a path that is there", "Check it."),
    errno.ENOSPC:       _ROOM,
    errno.ENOTDIR:      (BadInputError, "folders alone on the way to it", "Check the path."),
    errno.EPERM:        _ACCESS,
    errno.EROFS:        _ACCESS,
}
_OTHER = (UnavailableError, "a file system that reads and writes", "Choose another place.")
# fmt: on
# --------------------------------------------------------------------------------------------


@overload
def storage_error(error: OSError, subject: str) -> PoseDeployError: ...


@overload
def storage_error(
    error: OSError, subject: None = None, caches: Mapping[Path, str] = ...
) -> PoseDeployError | None: ...


def storage_error(
    error: OSError, subject: str | None = None, caches: Mapping[Path, str] = MappingProxyType({})
) -> PoseDeployError | None:
    """The error for a person where the file system refused.

    Args:
        error: What was raised.
        subject: What it is about. None: the file that it names; where it names none, it is
            about a full disk, or not about the file system and the answer is None.
        caches: Folder of a cache -> the environment variable that names another one.
    """
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    kind, expected, next_step = _REFUSALS.get(error.errno or 0, _OTHER)
    if subject is None:
        if error.errno is None or not (named or (kind, expected, next_step) == _ROOM):
            return None
        subject, named = named or "the output", ""
    for folder, variable in caches.items():
        if Path(subject).absolute().is_relative_to(folder.absolute()):
            next_step = f"Set {variable} to a folder that can be written to, with room in it."
    found = error.strerror or str(error)
    found = f"{named}: {found}" if named and named not in subject else found
    return kind(subject, found, expected, next_step)


def did_you_mean(word: str, names: Sequence[str], otherwise: str = "Check the spelling.") -> str:
    """A next step for a name that is not among `names`: the nearest one, if any is near.

    Args:
        word: What was said.
        names: What could have been said.
        otherwise: The next step where nothing is near.
    """
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if not near and len(word) > 2:  # the beginning of a name
        near = [name for name in by_lower if name.startswith(word.lower())]
    return f"Did you mean {by_lower[near[0]]}?" if near else otherwise


def names_beside(path: Path) -> list[str]:
    """What a path that is not there may have meant: what is in its folder, without dead links."""
    if not path.parent.is_dir():
        return []
    return [near.name for near in path.parent.iterdir() if near.exists()]


_PAGE = (b"<!doctype html", b"<html", b"<?xml", b"<head")
_LFS = b"version https://git-lfs.github.com/"


def what_it_is(path: Path) -> str:
    """What a file that is not what it should be looks like: empty, a web page, text, or a file."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "an empty file"
    size = f"{path.stat().st_size:,} bytes"
    if start.startswith(_LFS):
        return f"a Git LFS pointer of {size}, without the file that it points to,"
    if start.lstrip().lower().startswith(_PAGE):
        return f"a web page of {size}"
    text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)
    return f"a {'text ' if text else ''}file of {size}"
