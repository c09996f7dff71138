"""Consoles, progress bars and JSON on standard output, for all commands."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from posedeploy.workflow import for_log

__all__ = [
    "SpeedColumn", "console", "escape", "items_progress", "one_line", "print_json", "to_json",
]  # fmt: skip


def console(*, stderr: bool = False) -> Console:
    """A console that prints names as they are: no highlighting, no `:tada:` as an emoji.

    In a job of GitHub Actions none of them is a command.
    """
    stream = sys.stderr if stderr else sys.stdout
    log = for_log(stream, os.environ)
    file = None if log is stream else log
    return Console(file=file, stderr=stderr, highlight=False, emoji=False)


def one_line(text: str) -> str:
    """Text for a console, without markup and with escapes for what is not printable.

    The names of files may hold line breaks, codes for the terminal, and bytes that are not UTF-8.
    """
    return escape("".join(c if c.isprintable() else repr(c)[1:-1] for c in text))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON; numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False, ensure_ascii=False)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, for other programs."""
    typer.echo(to_json(value, indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class SpeedColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


def items_progress(*, as_json: bool) -> Progress:
    """A progress bar for images or frames.

    With text on standard output it uses the same console, so that lines appear above the bar. With
    JSON it uses standard error, and is hidden if standard output is a terminal too.
    """
    hidden = as_json and sys.stdout.isatty()
    shown_on = console(stderr=as_json)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=shown_on,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=hidden or not shown_on.is_terminal,
    )
