"""A folder as the tutorial's reader has it, and commands that run in it as they are typed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from suites.documents.blocks import ROOT, Block, Command, blocks, commands

TUTORIAL = ROOT / "docs" / "tutorial.md"
EXAMPLE = "example.py"  # the tutorial's block of this title makes the model and the pictures
COLUMNS = 76  # what a page's column holds in a code block, on a screen of 1280 px
SECONDS = 420  # for one command
# What a reader finds on the PATH, and how it is started from this tree.
PROGRAMS = {
    "posedeploy": ("-m", "posedeploy"),
    "pytest": ("-m", "pytest"),
    "python": (),
}
_OWN = ("PYTEST_", "POSECONFORM_", "GITHUB_", "CI")  # variables of the run that tests the pages


@dataclass(frozen=True)
class Printed:
    """The exit code of a command; its standard output and standard error as a terminal has them."""

    code: int
    output: str


class Reader:
    """Types commands in a folder; `$?` is the exit code of the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._code = 0
        self._programs = folder.parent / f"{folder.name}-programs"
        self._programs.mkdir(exist_ok=True)
        for name, words in PROGRAMS.items():
            program = self._programs / name
            line = shlex.join(["exec", sys.executable, *words])
            program.write_text(f'#!/bin/sh\n{line} "$@"\n', encoding="utf-8")
            program.chmod(0o755)

    def types(self, command: str) -> Printed:
        """Run one command; it may have several lines.

        Raises:
            subprocess.TimeoutExpired: It takes longer than any command of a page may.
        """
        done = subprocess.run(
            ["bash", "-c", f"(exit {self._code})\n{command}"],  # noqa: S607 - the reader's own
            cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
        )  # fmt: skip
        self._code = done.returncode
        return Printed(done.returncode, done.stdout.decode())

    def _environment(self) -> dict[str, str]:
        paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
        return kept | {
            "COLUMNS": str(COLUMNS),
            "NO_COLOR": "1",
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "POSEDEPLOY_TRUST_CONFIGS": "1",  # the configs are the reader's own
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONWARNINGS": "ignore",
            "TERM": "dumb",
        }

    def follows(self, page: Iterable[Block]) -> dict[Block, str]:
        """Write the files of a page, type its commands: what each `console` block should have."""
        printed = {}
        for block in page:
            if block.title:
                target = self.folder / block.title
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.body, encoding="utf-8")
            elif block.language == "console":
                printed[block] = [
                    Command(c.typed, self.types(c.typed).output) for c in commands(block.body)
                ]
        return printed


def prepare(folder: Path) -> Path:
    """Make the folder that the pages' commands run in: what the tutorial's first step leaves.

    Raises:
        RuntimeError: The tutorial's script failed.
    """
    folder.mkdir()
    script = next(b for b in blocks(TUTORIAL.read_text("utf-8")) if b.title == EXAMPLE)
    (folder / EXAMPLE).write_text(script.body, encoding="utf-8")
    done = Reader(folder).types(f"python {EXAMPLE}")
    if done.code:
        raise RuntimeError(f"{EXAMPLE} of {TUTORIAL.name}: {done.output}")
    return folder


def copy(prepared: Path, folder: Path) -> Reader:
    """A reader with a folder of its own."""
    return Reader(Path(shutil.copytree(prepared, folder)))
