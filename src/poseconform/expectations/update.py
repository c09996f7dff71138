"""`--update-expectations`: the files of declared failures as a run ended, and what that changes.

A cell that failed is added, with a link for a person to fill in: until then the file is refused.
An entry is removed when every cell it is about was judged in this run and passed its stage; where
only some did, the run says so and a person narrows it.  Whatever else a file says is kept as it
is, comments above an entry go with it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from poseconform.expectations.entries import Expectation, read_entries
from poseconform.matrix.cells import Cell
from poseconform.results.outcome import COMPARING_STAGES, STAGES, is_failure
from poseconform.results.records import CellRecord, StageRecord
from posedeploy.runtime import Code

HEADER = "[[xfail]]"
FILL_IN = "# add the link where this is reported or documented: without one the file is refused"


@dataclass
class Change:
    """What a run changes in one file.

    Attributes:
        removed: Places of entries that passed.
        added: Blocks of text to append, in order.
    """

    removed: set[int] = field(default_factory=set)
    added: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What a run says of declared failures.

    Attributes:
        entries: All entries.
        matrix: Every cell there is.
        records: Cell's id -> what it came to, for those that were judged.
        holds: Whether an entry's conditions hold here.
    """

    entries: Sequence[Expectation]
    matrix: Sequence[Cell]
    records: Mapping[str, CellRecord]
    holds: Callable[[Expectation], bool]


def update(folder: Path, run: Run, write_line: Callable[[str], None]) -> list[Path]:
    """Rewrite the files in `folder` and show the difference.

    Returns:
        The files that changed.

    Raises:
        ValueError: A file is laid out so that an entry's text cannot be found; nothing of it is
            written.
    """
    changed = []
    for backend, change in sorted(changes(run, write_line).items()):
        path = folder / f"{backend}.toml"
        before = path.read_bytes().decode() if path.is_file() else ""
        after = rewritten(before, change, path)
        for line in difflib.unified_diff(
            before.splitlines(), after.splitlines(), str(path), str(path), lineterm=""
        ):
            write_line(line)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(after.encode())
        changed.append(path)
    if not changed:
        write_line("expectations: nothing to change")
    return changed


def changes(run: Run, write_line: Callable[[str], None]) -> dict[str, Change]:
    """Backend -> what changes in its file; backends without a change are left out."""
    found: dict[str, Change] = {}
    places: dict[str, int] = {}
    for entry in run.entries:
        place = places[entry.backend] = places.get(entry.backend, -1) + 1
        about = [cell for cell in run.matrix if entry.matches(cell)]
        passed = [c for c in about if _passed(run.records.get(c.id), entry.stage)]
        if not passed or not run.holds(entry):
            continue
        if len(passed) == len(about):
            found.setdefault(entry.backend, Change()).removed.add(place)
        else:
            names = ", ".join(cell.id for cell in passed)
            write_line(
                f"{entry.source}: {len(passed)} of the {len(about)} cells that it is about pass "
                f"{entry.stage} ({names}); narrow it by hand"
            )
    for cell in run.matrix:
        stage = _undeclared(run.records.get(cell.id))
        if stage is not None:
            block = entry_text(cell, stage)
            found.setdefault(cell.flow.backend, Change()).added.append(block)
    return found


def entry_text(cell: Cell, stage: StageRecord) -> str:
    """The text of a new entry for a cell that failed at `stage`."""
    usual = "mismatch" if stage.name in COMPARING_STAGES else "failed"
    fields = {
        "model": cell.model.name,
        "deploy_config": cell.flow.label,
        "stage": stage.name,
        **({} if stage.outcome == usual else {"outcome": stage.outcome}),
        "reason": f"found: {stage.message or stage.outcome}",
        "link": "",
    }
    lines = [f"{name} = {_toml(value)}" for name, value in fields.items()]
    return "\n".join((FILL_IN, HEADER, *lines))


def rewritten(text: str, change: Change, path: Path) -> str:
    """The text of a file without the entries removed and with those added.

    Raises:
        ValueError: The file's entries cannot be told apart line by line.
    """
    count = len(read_entries(path, text.encode()))
    lines = text.splitlines()
    starts = list(_starts(lines))
    if len(starts) != count:
        raise ValueError(
            f"{path}: found {len(starts)} lines {HEADER} for {count} entries; expected one each. "
            "Write every entry as a table of its own."
        )
    edges = [*starts, len(lines)]
    kept = lines[: edges[0]]
    for i, start in enumerate(starts):
        kept += [] if i in change.removed else lines[start : edges[i + 1]]
    parts = ["\n".join(kept).strip(), *change.added]
    return "\n\n".join(part for part in parts if part) + "\n"


def _starts(lines: Sequence[str]) -> Iterator[int]:
    """First line of every entry, the comments right above it included."""
    for i, line in enumerate(lines):
        if line.split("#")[0].strip() == HEADER:
            start = i
            while start and lines[start - 1].startswith("#"):
                start -= 1
            yield start


def _passed(record: CellRecord | None, stage: str) -> bool:
    return record is not None and any(
        s.name == stage and s.outcome == "pass" for s in record.stages
    )


def _undeclared(record: CellRecord | None) -> StageRecord | None:
    """The stage that an undeclared failure of a cell is of; not of a backend that is missing."""
    if record is None or not is_failure(record.outcome) or record.code in set(Code):
        return None
    failing = [s for s in record.stages if s.failing and not s.expected]
    return min(failing, key=lambda s: STAGES.index(s.name), default=None)


def _toml(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def by_cell(cells: Iterable[Cell], records: Iterable[CellRecord]) -> dict[str, CellRecord]:
    """Cell's id -> its record, for those cells of a run that have one."""
    found = {(r.model, r.deploy_config): r for r in records}
    names = {cell.id: (cell.model.name, cell.flow.deploy_config) for cell in cells}
    return {name: found[key] for name, key in names.items() if key in found}
