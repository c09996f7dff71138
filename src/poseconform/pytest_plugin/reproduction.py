"""How to see a failure again: one command that runs just its cell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.options import availabilities_of, subject_of
from poseconform.reproduction import folder as repro_folder
from poseconform.subject.loading import DEFAULT_SUBJECT

# Options that change the result of a cell -> their defaults; one that differs is in the command.
CARRIED = {
    "subject": DEFAULT_SUBJECT, "device": "", "exporter": "", "weights": "auto",
    "weights_seed": 0, "image_set": 0,
}  # fmt: skip
_WRITTEN = pytest.StashKey[set[str]]()  # cells that have a folder of this run


def command(config: pytest.Config, cell: Cell) -> str:
    """The command that re-runs one cell: pytest in the folder of the suites, else `posedeploy`."""
    model, flow = cell.model, cell.flow
    if flow.folder:
        return _line(config, [*_as_given(config.option), *_carried(config)], cell)
    named = flow.is_file or flow.deploy_config in getattr(config.option, "deploy_config", ())
    listed = bool(model.tiers) or subject_of(config).has_name(model)
    options = [
        ("--models", model.name) if listed else ("--model-config", model.config),
        *([("--checkpoint", f"{model.name}={model.checkpoint}")] if model.checkpoint else ()),
        *_carried(config),
        *([("--deploy-config", flow.deploy_config)] if named else ()),
    ]
    return _line(config, options, cell)


def _as_given(option: Any) -> Iterator[tuple[str, str]]:
    """The options that name folders, and what is in them: together they decide a cell's name."""
    for name in ("sdk_model", "model_config", "models", "checkpoint"):
        for value in getattr(option, name) or ():
            yield f"--{name.replace('_', '-')}", str(value)
    if option.sdk_models:
        yield "--sdk-models", str(option.sdk_models)


def _line(config: pytest.Config, options: Iterable[tuple[str, str]], cell: Cell) -> str:
    here = config.invocation_params.dir == config.rootpath
    options = (*options, ("-k", f"[{cell.id}]"))
    words = (shell_word(word) for name, value in options for word in _option(name, value))
    return " ".join(("python -m pytest suites" if here else "posedeploy test", *words))


def _option(name: str, value: str) -> tuple[str, ...]:
    """An option's words: one, where the value would be taken for an option."""
    return (f"{name}={value}",) if value.startswith("-") else (name, value)


def shell_word(word: str) -> str:
    """A word as bash, zsh and ksh read it, in printable characters."""
    if word.isprintable():
        return shlex.quote(word)
    shown = (
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(word)
    )
    return f"$'{''.join(shown)}'"


def end_with(report: pytest.TestReport, title: str, text: str) -> None:
    """End a failure's message with a section, in the terminal, in JUnit and in the logs."""
    add = getattr(report.longrepr, "addsection", None)  # what pytest makes of an exception
    if add is not None:
        add(title, text)
    elif isinstance(report.longrepr, str):
        report.longrepr = f"{report.longrepr}\n{title}:\n{text}"
    else:
        report.sections.append((title, text))


def save(item: pytest.Item, cell: Cell, report: pytest.TestReport, again: str) -> None:
    """Write the reproduction folder of a cell whose test failed, if the run is to write them.

    The report of the test tells where, or why not. `again` is the command that re-runs the cell.
    """
    root = item.config.option.repro_dir
    if root is None:
        return
    written = item.config.stash.setdefault(_WRITTEN, set())
    lines = report.longreprtext.strip().splitlines()
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
    failure = repro_folder.Failure(
        cell, (crash.splitlines() or lines or ["failed"])[0], report.longreprtext, again,
        availabilities_of(item.config).of(cell.flow.backend).version,
        subject_of(item.config).versions(),
    )  # fmt: skip
    judge = getattr(item, "funcargs", {}).get("judge")
    try:
        folder = repro_folder.write(root, failure, judge, first=cell.id not in written)
    except OSError as error:
        end_with(report, "no reproduction folder", f"{root}: {error}")
        return
    written.add(cell.id)
    end_with(report, "reproduction folder", str(folder))


def _carried(config: pytest.Config) -> Iterator[tuple[str, str]]:
    for name, default in CARRIED.items():
        value = getattr(config.option, name, default)
        if value not in {default, None}:
            yield f"--{name.replace('_', '-')}", str(value)
