"""The summary in a terminal: the verdict, the matrix in text, the failures and their commands.

It reads well without color, in ASCII, and on a narrow terminal, where the matrix is cut into
as many tables as its columns need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poseconform.report.data.verdict import bad_cells, verdict_of
from poseconform.report.data.vocabulary import kind_of, look_of, words_of
from poseconform.report.page.grid import Grid, Row, grid_of
from poseconform.report.text.stressed import HEAD, stressed_rows
from poseconform.report.text.strings import headroom, one_line, pixels, plural, points, visible
from poseconform.results.records import CellRecord
from poseconform.results.results import Results

TEXT_WIDTH = 16  # of a column of the matrix: `<0.01 px h 0.09`
PLACE_WIDTH = TEXT_WIDTH + 3  # with padding and border
MAX_FAILURES = 50  # a run with more than these has one cause, not fifty
_IDLE = frozenset({"unavailable", "not-selected"})
_STYLES = {"good": "bold green", "bad": "bold red", "warn": "bold yellow", "none": "bold"}


def print_summary(results: Results, console: Console) -> None:
    """Print verdict, matrix and failures of `results` to `console`."""
    cells = results.cells
    verdict = verdict_of(cells, results.interrupted)
    console.print(Text(verdict.headline, style=_STYLES[verdict.group]))
    for detail in verdict.details:
        console.print(Text(detail))
    ascii_only = not console.encoding.lower().startswith("utf")
    grid, idle = _without_idle(grid_of(cells))
    names = max((min(len(row.model), 60) for row in grid.rows), default=0)
    count = max(1, (console.width - names - 4) // PLACE_WIDTH)
    for start in range(0, len(grid.columns), count):
        console.print()
        console.print(_table(grid, range(len(grid.columns))[start : start + count], ascii_only))
    if stressed := list(stressed_rows(cells, ascii_only, "\n")):
        console.print(_stressed_table(stressed, ascii_only))
    for line in idle:
        console.print(Text(_written(line, ascii_only), style="dim"))
    for failure in failure_lines(cells, ascii_only):
        console.print(failure, soft_wrap=True)
    for note in note_lines(cells):
        console.print(Text(_written(note, ascii_only), style="dim"), soft_wrap=True)


def _stressed_table(rows: Sequence[tuple[str, ...]], ascii_only: bool) -> Table:
    table = Table(pad_edge=False, header_style="bold", box=box.ASCII if ascii_only else box.SIMPLE)
    for name in HEAD:
        table.add_column(name.lower().replace("scalenorm", "ScaleNorm"), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_written(text, ascii_only)) for text in row))
    return table


def note_lines(cells: Sequence[CellRecord]) -> Iterator[str]:
    """Notes, each once, with the cells that have it."""
    noted: dict[str, list[str]] = {}
    for cell in cells:
        for note in cell.notes:
            noted.setdefault(note, []).append(f"{cell.model}, {cell.flow}")
    for note, names in list(noted.items())[:MAX_FAILURES]:
        whose = names[0] if len(names) == 1 else plural(len(names), "cell")
        yield one_line(f"note: {note} ({whose})", 500)
    if len(noted) > MAX_FAILURES:
        yield f"... and {plural(len(noted) - MAX_FAILURES, 'note')} more, in the report."


def failure_lines(cells: Sequence[CellRecord], ascii_only: bool) -> Iterator[Text]:
    """Failing and missing cells, worst first: what, why, and the command that shows it again."""
    bad = bad_cells(cells)
    for cell in bad[:MAX_FAILURES]:
        name = one_line(f"{cell.model} \N{MULTIPLICATION SIGN} {cell.flow}")
        line = Text("\n")
        line.append(_outcome(cell, ascii_only), look_of(cell.outcome).style)
        line.append(f"  {_written(name, ascii_only)}", "bold")
        if cell.reason:
            line.append(f"\n  {_written(one_line(cell.reason, 500), ascii_only)}")
        if cell.repro:
            line.append(f"\n  {_written(visible(cell.repro), ascii_only)}", "cyan")
        yield line
    if len(bad) > MAX_FAILURES:
        yield Text(f"\n... and {plural(len(bad) - MAX_FAILURES, 'cell')} more, in the report.")


def _table(grid: Grid, columns: Sequence[int], ascii_only: bool) -> Table:
    table = Table(pad_edge=False, header_style="bold", box=box.ASCII if ascii_only else box.SIMPLE)
    table.add_column("model", overflow="fold", min_width=8)
    for index in columns:
        column = grid.columns[index]
        parts = (column.backend, f"{column.precision} {column.shape_mode}", column.variant)
        heading = _written("\n".join(one_line(part, 30) for part in parts if part), ascii_only)
        table.add_column(Text(heading), overflow="fold", min_width=TEXT_WIDTH)
    family = ""
    for row in grid.rows:
        if row.family != family:
            family = row.family
            table.add_section()
            table.add_row(Text(_written(one_line(family, 40), ascii_only), style="bold"))
        texts = [_cells(row.groups[index], ascii_only) for index in columns]
        table.add_row(Text(_written(one_line(row.model, 60), ascii_only)), *texts)
    return table


def _cells(cells: Sequence[CellRecord], ascii_only: bool) -> Text:
    text = Text()
    for cell in cells:
        text.append("\n" if text else "")
        text.append(_outcome(cell, ascii_only), look_of(cell.outcome).style)
        error = "" if cell.worst_px is None else f"{pixels(cell.worst_px)} px"
        room = "" if cell.headroom is None else f"h {headroom(cell.headroom)}"
        lost = points(cell.accuracy.points_lost if cell.accuracy else None)
        for line in (f"{error} {room}".strip(), lost):
            text.append(f"\n{_written(line, ascii_only)}" if line else "")
    return text


def _outcome(cell: CellRecord, ascii_only: bool) -> str:
    look = look_of(cell.outcome)
    words = one_line(words_of(cell.outcome), 60)
    if cell.code and ":" not in words:
        words = f"{words}: {one_line(cell.code, 30)}"
    return f"{look.ascii if ascii_only else look.glyph} {_written(words, ascii_only)}"


def _without_idle(grid: Grid) -> tuple[Grid, list[str]]:
    """The grid without the columns in which nothing ran, and a line for each kind of them."""
    busy: list[int] = []
    idle: dict[tuple[str, str], list[CellRecord]] = {}
    for index, column in enumerate(grid.columns):
        cells = grid.column(index)
        if any(kind_of(c.outcome) not in _IDLE for c in cells):
            busy.append(index)
            continue
        for cell in cells:
            idle.setdefault((column.backend, cell.outcome), []).append(cell)
    rows = tuple(
        Row(row.family, row.model, tuple(row.groups[i] for i in busy))
        for row in grid.rows
        if any(row.groups[i] for i in busy)
    )
    lines = []
    for (backend, outcome), cells in sorted(idle.items()):
        reason = next((f" ({one_line(c.reason, 120)})" for c in cells if c.reason), "")
        words = f"{plural(len(cells), 'cell')} {one_line(words_of(outcome), 60)}"
        lines.append(f"{one_line(backend, 30)}: {words}{reason}")
    return Grid(tuple(grid.columns[i] for i in busy), rows), lines


def _written(text: str, ascii_only: bool) -> str:
    if not ascii_only:
        return text
    crossed = text.replace("\N{MULTIPLICATION SIGN}", "x").replace("\N{INFINITY}", "inf")
    return crossed.encode("ascii", "backslashreplace").decode()
