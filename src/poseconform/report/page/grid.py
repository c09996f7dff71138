"""The matrix model x flow, as rows and columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from poseconform.report.data.vocabulary import (
    BACKENDS,
    FAMILIES,
    PRECISIONS,
    SHAPES,
    kind_of,
    order_in,
)
from poseconform.results.records import CellRecord


@dataclass(frozen=True)
class Column:
    """One flow of the matrix."""

    backend: str
    precision: str
    shape_mode: str
    variant: str = ""  # options of the deploy config; exporter, implementation if uncommon

    @property
    def label(self) -> str:
        """`onnxruntime fp32 dynamic`, and the variant."""
        parts = (self.backend, self.precision, self.shape_mode, self.variant)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Row:
    """One model: for each column its cells (several deploy configs are rare)."""

    family: str
    model: str
    groups: tuple[tuple[CellRecord, ...], ...]


@dataclass(frozen=True)
class Grid:
    """The matrix; rows are grouped by family, columns by backend."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def cells(self) -> tuple[CellRecord, ...]:
        """All cells, row after row."""
        return tuple(cell for row in self.rows for group in row.groups for cell in group)

    def column(self, index: int) -> list[CellRecord]:
        """The cells of a column."""
        return [cell for row in self.rows for cell in row.groups[index]]


def grid_of(cells: Sequence[CellRecord]) -> Grid:
    """Rows and columns of `cells`, in the order of the support table."""
    usual = {"", _most_common(c.exporter for c in cells)}
    usual |= {_most_common(c.implementation for c in cells)}
    groups: dict[tuple[str, str], dict[Column, list[CellRecord]]] = {}
    for cell in cells:
        unusual = [name for name in (cell.exporter, cell.implementation) if name not in usual]
        words = " ".join((*_options_of(cell), *unusual))
        column = Column(cell.backend, cell.precision, cell.shape_mode, words)
        groups.setdefault((cell.family, cell.model), {}).setdefault(column, []).append(cell)
    columns = sorted({column for row in groups.values() for column in row}, key=_column_key)
    rows = tuple(
        Row(*key, tuple(tuple(groups[key].get(column, ())) for column in columns))
        for key in sorted(groups, key=lambda key: (order_in(FAMILIES, key[0]), key[1]))
    )
    return Grid(tuple(columns), rows)


def _options_of(cell: CellRecord) -> list[str]:
    """Options in the name of a deploy config: `f16` of `...-fp16-f16_...`."""
    words = re.search(rf"(?:^|_){re.escape(cell.backend)}((?:-[a-z0-9]+)+)_", cell.deploy_config)
    return [word for word in words[1].split("-")[1:] if word not in PRECISIONS] if words else []


def idle_columns(grid: Grid) -> frozenset[str]:
    """Labels of the flows of which no cell was selected, if others were."""
    idle = {
        column.label
        for index, column in enumerate(grid.columns)
        if all(kind_of(cell.outcome) == "not-selected" for cell in grid.column(index))
    }
    return frozenset(idle if len(idle) < len(grid.columns) else ())


def _most_common(values: Iterable[str]) -> str:
    counts = Counter(value for value in values if value)
    return min(counts, key=lambda value: (-counts[value], value), default="")


def _column_key(column: Column) -> tuple[Any, ...]:
    backend, precision = order_in(BACKENDS, column.backend), order_in(PRECISIONS, column.precision)
    return (backend, column.variant, precision, SHAPES.index(column.shape_mode))
