"""Cells of SDK model folders that options name: `--sdk-model`, and the rows of `--sdk-models`."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poseconform.matrix.cells import Cell, Model
from poseconform.matrix.weights import AUTO, KINDS, PUBLISHED
from poseconform.subject.folders import read_flow
from poseconform.subject.protocol import Subject

TABLE = "model"  # of a file of `--sdk-models`, one a folder
_REQUIRED = ("artifact", "model_config", "checkpoint")
_KEYS = (*_REQUIRED, "name")
_TYPE_THIS = "--sdk-model DIR --model-config CONFIG.py --checkpoint FILE.pth"

Named = tuple[Path, Model]  # a folder, and the model in it


def names_folders(option: Any) -> bool:
    """True if `pytest.Config.option` names folders to judge."""
    return bool(getattr(option, "sdk_model", ()) or getattr(option, "sdk_models", None))


def folder_cells(
    option: Any, subject: Subject, models: Callable[[], Sequence[Model]]
) -> tuple[Cell, ...]:
    """A cell for each folder that options name; `models` gives those of `--model-config`.

    A `pytest.UsageError` names everything that is no folder of a model, all at once.
    """
    _refuse_unused(option)
    named = [
        *(_of_options(option, models) if option.sdk_model else ()),
        *(_of_file(option.sdk_models, option.weights_seed, subject) if option.sdk_models else ()),
    ]
    cells, refused = [], []
    for folder, model in named:
        try:
            cells.append(Cell(model, read_flow(folder, model)))
        except Exception as error:  # those that are for people, of zips too
            if not hasattr(error, "next_step"):
                raise
            refused.append(str(error))
    if refused:
        raise pytest.UsageError("\n".join(refused))
    subject.fetch_published([cell.model for cell in cells if cell.model.weights == PUBLISHED])
    return _told_apart(cells)


def _refuse_unused(option: Any) -> None:
    """Options that mean nothing where folders are judged are not left out without a word."""
    of_a_model = () if option.sdk_model else ("models", "model_config", "checkpoint")
    for name in ("deploy_config", "exporter", *of_a_model):
        if value := getattr(option, name):
            why = (
                "nothing is converted" if name not in of_a_model else "its rows name their models"
            )
            raise pytest.UsageError(
                f"--{name.replace('_', '-')} {value if isinstance(value, str) else value[0]}: "
                f"found it with --sdk-model{'' if option.sdk_model else 's'}; expected one of the "
                f"two: {why}. Leave it out."
            )


def _of_options(option: Any, models: Callable[[], Sequence[Model]]) -> Iterator[Named]:
    folders = [Path(word) for text in option.sdk_model for word in text.split(",") if word]
    found = models() if option.model_config or option.models else ()
    if len(found) != 1:
        raise pytest.UsageError(
            f"--sdk-model: found {len(found) or 'no'} model{'s' * (len(found) > 1)}; expected the "
            f"one that the folders hold. Type {_TYPE_THIS}, or name several models and their "
            "folders in a file for --sdk-models."
        )
    model = found[0]
    if not model.checkpoint and option.weights == AUTO:
        raise pytest.UsageError(
            "--sdk-model: found no --checkpoint; expected the weights that the folders were made "
            f"of, which PyTorch runs with. Type {_TYPE_THIS}, or, for weights that posedeploy "
            f"made, --weights with one of {', '.join(KINDS)}."
        )
    weights = model.weights if model.checkpoint else option.weights
    yield from ((folder, replace(model, weights=weights)) for folder in folders)


def _of_file(path: Path, seed: int, subject: Subject) -> Iterator[Named]:
    """The rows of a file; paths in it are relative to it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise pytest.UsageError(
            f"--sdk-models {path}: found no TOML ({error}); expected [[{TABLE}]] tables. "
            "docs/judge.md shows one."
        ) from error
    rows = content.pop(TABLE, [])
    if content or not isinstance(rows, list) or not rows:
        raise pytest.UsageError(
            f"--sdk-models {path}: found {sorted(content) or 'no row'}; expected [[{TABLE}]] "
            f"tables with {', '.join(_REQUIRED)}. Add them."
        )
    for index, row in enumerate(rows):
        where = f"--sdk-models {path}: {TABLE}[{index}]"
        _check_row(where, row)
        yield _below(path, row["artifact"]), _model_of(where, path, row, seed, subject)


def _check_row(where: str, row: Any) -> None:
    if not isinstance(row, dict) or (unknown := set(row) - set(_KEYS)):
        found = f"unknown {sorted(unknown)}" if isinstance(row, dict) else repr(row)
        raise pytest.UsageError(f"{where}: found {found}; expected {', '.join(_KEYS)}.")
    for name in _KEYS:
        value = row.get(name, "" if name in _REQUIRED else "name")
        if not isinstance(value, str) or not value.strip():
            found = "none" if name not in row else repr(value)
            raise pytest.UsageError(f"{where}: {name}: found {found}; expected a string. Add it.")


def _model_of(
    where: str, path: Path, row: Mapping[str, str], seed: int, subject: Subject
) -> Model:
    config, checkpoint = row["model_config"], row["checkpoint"]
    if (file := _below(path, config)).is_file():
        model = subject.model_from_config(str(file))
    else:
        (model,) = subject.models([config])  # a name; for others it has its own error
    model = replace(model, name=row.get("name", model.name), seed=seed)
    if checkpoint in KINDS:
        return replace(model, weights=checkpoint)
    if not (file := _below(path, checkpoint)).is_file():
        raise pytest.UsageError(
            f"{where}: checkpoint: found no file {file}; expected one, or one of "
            f"{', '.join(KINDS)} for weights that posedeploy makes or downloads."
        )
    return replace(model, checkpoint=str(file.resolve()))


def _below(path: Path, name: str) -> Path:
    return path.parent / name


def _told_apart(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Cells of different names; those of one name get that of their folder as well.

    A model's name stands for one config and one checkpoint.
    """
    ids = Counter(cell.id for cell in cells)
    models = Counter(model.name for model in {cell.model for cell in cells})
    named = tuple(
        replace(cell, model=replace(
            cell.model, name=f"{cell.model.name}.{Path(cell.flow.folder).name}"
        )) if ids[cell.id] > 1 or models[cell.model.name] > 1 else cell
        for cell in cells
    )  # fmt: skip
    if twice := [name for name, count in Counter(c.id for c in named).items() if count > 1]:
        folders = ", ".join(c.flow.folder for c in named if c.id == twice[0])
        raise pytest.UsageError(
            f"two folders are called {twice[0]!r} in the report: {folders}; expected different "
            "names. Rename one, or give each row of a --sdk-models file a `name`."
        )
    return named
