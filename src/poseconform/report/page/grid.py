"""The matrix model x flow, as rows and columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from poseconform.report.data.vocabulary import (
    BACKENDS,
    FAMILIES,
    PRECISIONS,
    SHAPES,
    in_order,
    kind_of,
)
from poseconform.results.records import CellRecord


@dataclass(frozen=True)
class Column:
    """One flow of the matrix.

    Attributes:
        backend: Backend name.
        precision: `fp32`, `fp16`, `bf16` or `int8`.
        shape_mode: `static` or `dynamic`.
        variant: What the deploy config does otherwise than others of its kind, and exporter and
            implementation where they are not the usual ones; mostly empty.
    """

    backend: str
    precision: str
    shape_mode: str
    variant: str = ""

    @property
    def label(self) -> str:
        """`onnxruntime fp32 dynamic`, and the variant."""
        parts = (self.backend, self.precision, self.shape_mode, self.variant)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Row:
    """One model: for each column the cells at that place (several deploy configs are rare)."""

    family: str
    model: str
    places: tuple[tuple[CellRecord, ...], ...]


@dataclass(frozen=True)
class Grid:
    """The matrix; rows are grouped by family, columns by backend."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def grid_of(cells: Sequence[CellRecord]) -> Grid:
    """Rows and columns of `cells`, in the order of the support table."""
    usual = (
        _most_common(c.exporter for c in cells),
        _most_common(c.implementation for c in cells),
    )
    places: dict[tuple[str, str], dict[Column, list[CellRecord]]] = {}
    for cell in cells:
        row = places.setdefault((cell.family, cell.model), {})
        row.setdefault(column_of(cell, usual), []).append(cell)
    columns = sorted({column for row in places.values() for column in row}, key=_column_key(cells))
    families = in_order((cell.family for cell in cells), FAMILIES)
    order = sorted(places, key=lambda key: (families.index(key[0]), key[1]))
    rows = tuple(
        Row(family, model, tuple(tuple(places[family, model].get(c, ())) for c in columns))
        for family, model in order
    )
    return Grid(tuple(columns), rows)


def column_of(cell: CellRecord, usual: tuple[str, str]) -> Column:
    """The column of `cell`, when `usual` are the most common exporter and implementation."""
    own = (cell.exporter, cell.implementation)
    unusual = [name for name, common in zip(own, usual, strict=True) if name not in {"", common}]
    words = " ".join((*_options_of(cell), *unusual))
    return Column(cell.backend, cell.precision, cell.shape_mode, words)


def _options_of(cell: CellRecord) -> list[str]:
    """Options in the name of a deploy config: `f16` of `...-fp16-f16_...`."""
    found = re.search(rf"(?:^|_){re.escape(cell.backend)}((?:-[a-z0-9]+)+)_", cell.deploy_config)
    return [word for word in found[1].split("-")[1:] if word not in PRECISIONS] if found else []


def idle_columns(grid: Grid) -> frozenset[str]:
    """Labels of the flows of which no cell was selected, if others were."""
    idle = {
        column.label
        for index, column in enumerate(grid.columns)
        if all(kind_of(c.outcome) == "not-selected" for r in grid.rows for c in r.places[index])
    }
    return frozenset(idle if len(idle) < len(grid.columns) else ())


def _most_common(values: Iterable[str]) -> str:
    found = Counter(value for value in values if value)
    return min(found, key=lambda value: (-found[value], value), default="")


def _column_key(cells: Sequence[CellRecord]) -> Callable[[Column], tuple[int, str, int, int]]:
    backends = in_order((c.backend for c in cells), tuple(name for name, _ in BACKENDS))
    precisions = in_order((c.precision for c in cells), PRECISIONS)
    return lambda column: (
        backends.index(column.backend),
        column.variant,
        precisions.index(column.precision),
        SHAPES.index(column.shape_mode),
    )
