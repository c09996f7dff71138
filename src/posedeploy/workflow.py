"""Text for the log of a job of GitHub Actions, in which a name must not be a command.

The runner takes a line for a command if it begins with `::`, and whatever follows `##[` anywhere
in it (actions/runner, src/Runner.Common/ActionCommand.cs, TryParseV2 and TryParse). It reads lines
as .NET's StreamReader does, which ends them at a carriage return too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TextIO, cast

_BREAK = re.compile(r"[\r\n]")
_COMMAND = re.compile(r"([\r\n][^\S\r\n]*)::")


def inert(text: str) -> str:
    r"""`text`, which begins a line, with a backslash in whatever would be a command."""
    return _COMMAND.sub(r"\1\\::", f"\n{text}")[1:].replace("##[", r"##\[")


class InertStream:
    """A stream to which nothing is written that the runner would take for a command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._blank = True  # nothing or blanks alone in the last line

    def write(self, text: str) -> int:
        """Write text, a line or a part of one; the number of its characters."""
        safe = inert(text) if self._blank else inert(f"x{text}")[1:]
        last = _BREAK.split(text)[-1]
        self._blank = not last.strip() and (self._blank or last != text)
        self._stream.write(safe)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def for_log(stream: TextIO, environment: Mapping[str, str]) -> TextIO:
    """`stream`, made inert if `environment` (of the process) is that of GitHub Actions."""
    if environment.get("GITHUB_ACTIONS") != "true" or isinstance(stream, InertStream):
        return stream
    return cast("TextIO", InertStream(stream))
