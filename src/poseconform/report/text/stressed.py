"""The table of cells that were judged on stressed weights too: on which ranges they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from poseconform.report.data.vocabulary import look_of
from poseconform.report.text.strings import headroom, one_line, pixels
from poseconform.results.records import CellRecord, StressRecord

HEAD = ("Model", "Flow", "Plain weights", "|x| in front of ScaleNorm")
_GOOD, _BAD = look_of("pass"), look_of("mismatch")


def stressed_rows(
    cells: Iterable[CellRecord], ascii_only: bool = False, between: str = "; "
) -> Iterator[tuple[str, ...]]:
    """A row as in `HEAD` for each such cell; `between` separates what was found at each level."""
    for cell in cells:
        if cell.stressed:
            plain = look_of(cell.outcome)
            found = _measured(cell.worst_px, cell.headroom)
            mark = plain.ascii if ascii_only else plain.glyph
            results = between.join(result_of(one, ascii_only) for one in cell.stressed)
            yield one_line(cell.model), one_line(cell.flow), f"{mark} {found}".strip(), results


def result_of(record: StressRecord, ascii_only: bool = False) -> str:
    """How large |x| was, and what was found: `2,341: ✓ 0.50 px, h 0.21`."""
    look = _BAD if record.failure else _GOOD
    error = record.keypoint_error_px
    measured = _measured(error.max if error else None, record.headroom)
    found = one_line(record.failure, 120) or measured
    mark = look.ascii if ascii_only else look.glyph
    return f"{record.norm_input:,.0f}: {mark} {found}".strip()


def _measured(worst_px: float | None, room: float | None) -> str:
    parts = ("" if worst_px is None else f"{pixels(worst_px)} px",
             "" if room is None else f"h {headroom(room)}")  # fmt: skip
    return ", ".join(filter(None, parts))
