"""The commands of `posedeploy` as a table: a command is imported when it is called.

The help of the program needs none of them, so that it appears at once: what a command imports
(numpy, OpenCV, configs) takes longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from posedeploy.cli import broken_import
from posedeploy.errors import UnavailableError
from posedeploy.heads import load

DEPLOY, KNOW, JUDGE = "Deploy", "What there is", "Judge"


@dataclass(frozen=True)
class CommandRow:
    """A command, or a group of commands.

    Attributes:
        name: The word on the command line.
        path: 'module:attribute' of the function, or of the Typer application of a group.
        panel: Panel of the program's help.
        help: The first paragraph of its own help.
        passing_on: True if its arguments are another program's.
    """

    name: str
    path: str
    panel: str
    help: str
    passing_on: bool = False


# ---- modify this table to add a command: the order is that of the help ---------------------
# fmt: off
ROWS: tuple[CommandRow, ...] = (
    CommandRow("convert", "posedeploy.cli.convert:convert", DEPLOY,
               "Convert a model, and compare its keypoints with PyTorch's."),
    CommandRow("infer", "posedeploy.cli.infer.command:infer", DEPLOY,
               "Find keypoints in images and videos with an SDK model folder, and draw them."),
    CommandRow("validate", "posedeploy.cli.validate:validate", DEPLOY,
               "Check an SDK model folder for errors, without running the graph in it."),
    CommandRow("compare", "posedeploy.cli.compare:compare", DEPLOY,
               "Compare an artifact, whoever made it, with PyTorch, and say at which stage it "
               "differs."),
    CommandRow("ranges", "posedeploy.cli.ranges:ranges", DEPLOY,
               "Say which values, sums and weights of a model leave float16, and where."),
    CommandRow("profile", "posedeploy.cli.profile.command:profile", DEPLOY,
               "Measure pre-processing, session and post-processing, with the machine's "
               "fingerprint."),
    CommandRow("backends", "posedeploy.cli.backends:backends", KNOW,
               "Say which backends can run here, in which versions, and why the others cannot."),
    CommandRow("setup", "posedeploy.cli.setup:setup", KNOW,
               "Install mmpose, mmpretrain, mmengine and mmcv-lite at the tested versions."),
    CommandRow("zoo", "posedeploy.cli.zoo:zoo", KNOW,
               "The models that this project answers for."),
    CommandRow("configs", "posedeploy.cli.configs:configs", KNOW,
               "The deploy configs: list, show, new."),
    CommandRow("test", "posedeploy.cli.judge:test", JUDGE,
               "Run the conformance suites: posedeploy test [SUITE...] [pytest's arguments].",
               passing_on=True),
    CommandRow("report", "posedeploy.cli.judge:report", JUDGE,
               "Make, compare and merge reports: build, diff, merge, table, baseline.",
               passing_on=True),
)
# fmt: on
# --------------------------------------------------------------------------------------------
PASSING_ON = frozenset(row.name for row in ROWS if row.passing_on)


# All arguments after the command's name are another program's, `--help` too.
CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@cache
def load_command(row: CommandRow) -> Any:
    """Import a command, as an object of click.

    Raises:
        UnavailableError: It cannot be imported, as where OpenCV lacks a library of the system.
    """
    try:
        target = load(row.path)
    except ImportError as error:
        raise UnavailableError(*broken_import(error)) from error
    whole = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    whole.callback()(_nothing)  # so that it is a group
    if isinstance(target, typer.Typer):
        whole.add_typer(target, name=row.name)
    else:
        whole.command(row.name, context_settings=CONTEXT if row.passing_on else {})(target)
    group: Any = get_command(whole)
    return group.commands[row.name]


def _nothing() -> None:
    """Run before every command."""


class _Imported(Mapping[str, Any]):
    """The commands by name, imported when they are looked up."""

    def __init__(self) -> None:
        self._rows = {row.name: row for row in ROWS}

    def __getitem__(self, name: str) -> Any:
        return load_command(self._rows[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class Commands(TyperGroup):
    """The group of all commands: help is from the table, and a command that is called is real."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Imported()

    def list_commands(self, _context: Any) -> list[str]:
        """The names, in the order of the table."""
        return list(self.commands)

    def get_command(self, _context: Any, cmd_name: str) -> Any:
        """What the help shows of a command; None for a word that is none."""
        row = next((row for row in ROWS if row.name == cmd_name), None)
        return row and TyperCommand(row.name, help=row.help, rich_help_panel=row.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that is called, imported, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else self.commands[command.name], rest
