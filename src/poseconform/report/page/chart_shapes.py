"""What a chart is once its places are known: rows, dots, bars, in units of the drawing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dot:
    """A dot with a title; `x` and `y` in units of the drawing."""

    x: float
    y: float
    title: str
    bad: bool


@dataclass(frozen=True)
class StripRow:
    """A row of dots: those without a title are in `path`, `ranges` are their spreads."""

    label: str
    y: float
    path: str
    ranges: str
    dots: tuple[Dot, ...]
    note: str


@dataclass(frozen=True)
class Strip:
    """A strip chart: `ticks` are places and labels, `limit` is the place of the limit."""

    title: str
    note: str
    rows: tuple[StripRow, ...]
    ticks: tuple[tuple[float, str], ...]
    limit: float | None
    height: float


@dataclass(frozen=True)
class BarRow:
    """A row of segments: place, width, number of the stage, title."""

    label: str
    y: float
    segments: tuple[tuple[float, float, int, str], ...]
    note: str


@dataclass(frozen=True)
class Bars:
    """A chart of stacked bars; `legend` are the numbers and names of the stages in it."""

    title: str
    note: str
    rows: tuple[BarRow, ...]
    legend: tuple[tuple[int, str], ...]
    height: float
