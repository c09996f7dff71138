"""How to see a failure again: one command that runs just its cell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from . import implementations
from .matrix import Cell, Model

# Options that change what a cell comes to -> their defaults; one that differs is in the command.
CARRIED = {"exporter": "", "weights": "auto", "weights_seed": 0, "picture_set": 0}


def command(config: pytest.Config, cell: Cell) -> str:
    """The command that re-runs one cell."""
    flow = cell.flow.deploy_config
    words = [
        "python", "-m", "pytest", "suites", *_model(cell.model), *_carried(config),
        *(["--deploy-config", flow] if "/" in flow else []), "-k", f"[{cell.id}]",
    ]  # fmt: skip
    return shlex.join(words)


def end_with(report: pytest.TestReport, title: str, text: str) -> None:
    """End a failure's message with a section, in the terminal, in JUnit and in the logs."""
    add = getattr(report.longrepr, "addsection", None)  # what pytest makes of an exception
    if add is not None:
        add(title, text)
    elif isinstance(report.longrepr, str):
        report.longrepr = f"{report.longrepr}\n{title}:\n{text}"
    else:
        report.sections.append((title, text))


def _model(model: Model) -> Iterator[str]:
    named = bool(model.tiers) or implementations.in_zoo(model)
    yield from ("--models", model.name) if named else ("--model-config", model.config)
    if model.checkpoint:
        yield from ("--checkpoint", f"{model.name}={model.checkpoint}")


def _carried(config: pytest.Config) -> Iterator[str]:
    for name, default in CARRIED.items():
        value = getattr(config.option, name, default)
        if value not in {default, None}:
            yield from (f"--{name.replace('_', '-')}", str(value))
