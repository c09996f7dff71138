"""Declared failures: `suites/expectations/<backend>.toml`, strict, with reason, link and stage.

    [[xfail]]
    model = "litehrnet_18"          # or family = "LiteHRNet"; '*' for any
    deploy_config = "ncnn_static-256x192"   # label without 'pose-detection_'; '*' for any
    stage = "numeric"
    reason = "…"
    link = "https://…"

An entry excuses only its stage, and an unexpected pass fails.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .matrix import Cell
from .outcome import STAGES

FOLDER = Path("suites") / "expectations"  # below pytest's root folder
_FIELDS = {"model", "family", "deploy_config", "stage", "reason", "link"}


@dataclass(frozen=True)
class Expectation:
    """One entry; '*' matches anything."""

    backend: str
    model: str
    family: str
    deploy_config: str
    stage: str
    reason: str
    link: str

    def matches(self, cell: Cell) -> bool:
        """True if the entry is about this cell."""
        pairs = (
            (self.backend, cell.flow.backend), (self.model, cell.model.name),
            (self.family, cell.model.family), (self.deploy_config, cell.flow.label),
        )  # fmt: skip
        return all(declared in {"*", found} for declared, found in pairs)


def marks(cell: Cell, stage: str, root: Path) -> Iterator[pytest.MarkDecorator]:
    """The strict xfail marks of a cell's test; `root` is pytest's root folder."""
    for entry in load_expectations(root / FOLDER):
        if entry.stage == stage and entry.matches(cell):
            yield pytest.mark.xfail(reason=f"{entry.reason} ({entry.link})", strict=True)


@cache
def load_expectations(folder: Path) -> tuple[Expectation, ...]:
    """All entries of a folder; none if there is no such folder.

    Raises:
        pytest.UsageError: An entry lacks a field or names an unknown stage.
    """
    entries = []
    for path in sorted(folder.glob("*.toml")):
        entries += [_entry(path, i, raw) for i, raw in enumerate(_read(path))]
    return tuple(entries)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"{path}: found no TOML ({error}); correct the file.") from error
    raw = data.pop("xfail", [])
    if data or not isinstance(raw, list):
        found = sorted(data) or "another xfail"
        raise pytest.UsageError(f"{path}: found {found}; expected [[xfail]] tables only.")
    return raw


def _entry(path: Path, index: int, raw: dict[str, Any]) -> Expectation:
    where = f"{path}: xfail[{index}]"
    for name in ("stage", "reason", "link"):
        if not str(raw.get(name, "")).strip():
            raise pytest.UsageError(f"{where}: found no {name}; expected one. Add it.")
    if unknown := set(raw) - _FIELDS:
        raise pytest.UsageError(f"{where}: unknown {sorted(unknown)}; expected {sorted(_FIELDS)}")
    if raw["stage"] not in STAGES:
        raise pytest.UsageError(f"{where}: stage {raw['stage']!r}; expected one of {STAGES}")
    return Expectation(
        path.stem, raw.get("model", "*"), raw.get("family", "*"), raw.get("deploy_config", "*"),
        raw["stage"], raw["reason"], raw["link"],
    )  # fmt: skip
