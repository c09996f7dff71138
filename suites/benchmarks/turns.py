"""Clients in child processes that take turns: what slows the machine down slows all of them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from poseconform.isolation.child import SINGLE_THREAD, Child

OURS, CONTROL, FLOOR = "posedeploy", "posedeploy again", "floor"
# Who is measured -> the package that it needs. The control is the same in another process: what
# its ratio is off 1 by is noise.
PACKAGES: Mapping[str, str] = {
    OURS: "posedeploy", CONTROL: "posedeploy", "mmdeploy-runtime": "mmdeploy_runtime",
    "rtmlib": "rtmlib", FLOOR: "onnxruntime",
}  # fmt: skip


def installed(
    names: Sequence[str], packages: Mapping[str, str] = PACKAGES
) -> tuple[list[str], list[str]]:
    """Those whose package is there, and those whose package is not."""
    found = {name: importlib.util.find_spec(packages[name]) is not None for name in names}
    return [n for n in names if found[n]], [n for n in names if not found[n]]


def not_installed(names: Sequence[str]) -> str:
    """One line that names the clients that were left out; '' for none."""
    return "\n".join(f"{name}: not installed (requirements/clients.txt)" for name in names)


@contextmanager
def clients(names: Sequence[str], logs: Path) -> Iterator[Mapping[str, Child]]:
    """A child process for each, with one thread a library; its log is in a folder."""
    env = SINGLE_THREAD | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    with ExitStack() as stack:
        yield {name: stack.enter_context(Child(logs / f"{name}.log", env)) for name in names}


def rounds(
    children: Mapping[str, Child], target: str, *args: Any, count: int, timeout: float
) -> dict[str, list[Any]]:
    """What `package.module:function` returned in each child, by round.

    Every other round is in reverse order, so that none is always the one after another.
    """
    found: dict[str, list[Any]] = {name: [] for name in children}
    for index in range(count):
        for name in list(children)[:: -1 if index % 2 else 1]:
            found[name].append(children[name].call(target, *args, timeout=timeout))
    return found
