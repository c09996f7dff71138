"""`--update-expectations`: the files of declared failures follow the results of a run.

A cell that failed is added, with a link for a person to fill in: until then the file is refused.
An entry is removed when every cell that it matches was judged in this run and passed its stage;
where only some did, a line asks a person to narrow it. The rest of a file stays as it is; comments
above an entry go with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tomlkit
from tomlkit.items import AoT

from poseconform.expectations.entries import Expectation, read_entries
from poseconform.matrix.cells import Cell
from poseconform.results.outcome import is_failure, usual_failure
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
    """The results of a run, with the declared failures.

    Attributes:
        entries: All entries.
        matrix: Every cell there is.
        records: Cell's id -> its record, for cells that were judged.
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
        ValueError: The entries of a file are not tables of their own; it is not written.
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
    table = tomlkit.table()
    table["model"] = cell.model.name
    table["deploy_config"] = cell.flow.label
    table["stage"] = stage.name
    if stage.outcome != usual_failure(stage.name):
        table["outcome"] = stage.outcome
    table["reason"] = f"found: {stage.message or stage.outcome}"
    table["link"] = ""
    return f"{FILL_IN}\n{HEADER}\n{table.as_string()}".strip()


def rewritten(text: str, change: Change, path: Path) -> str:
    """The text of a file without the entries removed and with those added.

    Comments right above an entry belong to it; one blank line parts the entries.

    Raises:
        ValueError: The entries are not tables of their own.
    """
    read_entries(path, text.encode())  # refuses what is not TOML and what is no entry
    document = tomlkit.parse(text)
    entries = document.get("xfail", [])
    if entries and not isinstance(entries, AoT):
        raise ValueError(
            f"{path}: found xfail = [...]; expected a table {HEADER} for each entry. "
            "Write every entry as a table of its own."
        )
    parts = ["".join(item.as_string() for key, item in document.body if key is None)]
    for table in entries:
        parts[-1], comments = _split_comments(parts[-1])
        trivia = table.trivia
        parts.append(f"{comments}{HEADER}{trivia.comment_ws}{trivia.comment}\n{table.as_string()}")
    remaining = [part for i, part in enumerate(parts) if i - 1 not in change.removed]
    return "\n\n".join(p.strip() for p in (*remaining, *change.added) if p.strip()) + "\n"


def _split_comments(text: str) -> tuple[str, str]:
    """`text` without the comment lines at its end, and those lines."""
    lines = text.splitlines(keepends=True)
    end = len(lines)
    while end and lines[end - 1].startswith("#"):
        end -= 1
    return "".join(lines[:end]), "".join(lines[end:])


def _passed(record: CellRecord | None, stage: str) -> bool:
    return record is not None and any(
        s.name == stage and s.outcome == "pass" for s in record.stages
    )


def _undeclared(record: CellRecord | None) -> StageRecord | None:
    """The stage that an undeclared failure of a cell is of; not of a backend that is missing."""
    if record is None or not is_failure(record.outcome) or record.code in set(Code):
        return None
    failing = [s for s in record.stages if s.failing and not s.expected]
    return failing[0] if failing else None


def by_cell(cells: Iterable[Cell], records: Iterable[CellRecord]) -> dict[str, CellRecord]:
    """Cell's id -> its record, for those cells of a run that have one."""
    found = {(r.model, r.deploy_config): r for r in records}
    names = {cell.id: (cell.model.name, cell.flow.deploy_config) for cell in cells}
    return {name: found[key] for name, key in names.items() if key in found}
