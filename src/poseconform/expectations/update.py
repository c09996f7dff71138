"""`--update-expectations`: the files of declared failures follow the results of a run.

A cell that failed is added, with a link for a person to fill in: until then the file is refused.
An entry is removed when every cell that it matches was judged in this run and passed its stage;
where only some did, a line asks a person to narrow it. The rest of a file stays as it is; comments
above an entry go with it.
"""

from __future__ import annotations

import difflib
import glob
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import tomlkit
from tomlkit.items import AoT

from poseconform.expectations.entries import Expectation, read_entries
from poseconform.matrix.cells import Cell
from poseconform.results.outcome import is_failure, usual_failure
from poseconform.results.records import CellRecord, StageRecord
from posedeploy.runtime import Code

HEADER = "[[xfail]]"
_COMMENTS_AT_END = re.compile(r"^(?:#.*\n)+\Z", re.MULTILINE)
FILL_IN = "# add the link where this is reported or documented: without one the file is refused"


@dataclass
class Change:
    """What a run changes in one file: indices of entries that go, blocks of text to append."""

    removed: set[int] = field(default_factory=set)
    added: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """The results of a run, with the declared failures."""

    entries: Sequence[Expectation]
    matrix: Sequence[Cell]
    records: Mapping[str, CellRecord]  # of the cells that were judged, by the cell's id
    holds: Callable[[Expectation], bool]  # whether an entry's conditions hold here


def update(folder: Path, run: Run, write_line: Callable[[str], None]) -> list[Path]:
    """Rewrite the files in `folder`, show the difference, and return the files that changed."""
    changed = []
    for backend, change in sorted(changes(run, write_line).items()):
        path = folder / f"{backend}.toml"
        before = path.read_bytes().decode() if path.is_file() else ""
        after = rewritten(before, change, path)
        lines, name = (before.splitlines(), after.splitlines()), str(path)
        for line in difflib.unified_diff(*lines, name, name, lineterm=""):
            write_line(line)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(after.encode())
        changed.append(path)
    if not changed:
        write_line("expectations: nothing to change")
    return changed


def changes(run: Run, write_line: Callable[[str], None]) -> dict[str, Change]:
    """Backend -> what changes in its file; backends without a change are left out."""
    by_backend: dict[str, Change] = defaultdict(Change)
    indices: dict[str, Iterator[int]] = defaultdict(count)
    for entry in run.entries:
        index = next(indices[entry.backend])
        about = [cell for cell in run.matrix if entry.matches(cell)]
        passed = [c.id for c in about if _passed(run.records.get(c.id), entry.stage)]
        if not passed or not run.holds(entry):
            continue
        if len(passed) == len(about):
            by_backend[entry.backend].removed.add(index)
        else:
            write_line(
                f"{entry.source}: {len(passed)} of the {len(about)} cells that it is about pass "
                f"{entry.stage} ({', '.join(passed)}); narrow it by hand"
            )
    for cell in run.matrix:
        stage = _undeclared(run.records.get(cell.id))
        if stage is not None:
            by_backend[cell.flow.backend].added.append(entry_text(cell, stage))
    return dict(by_backend)


def entry_text(cell: Cell, stage: StageRecord) -> str:
    """The text of a new entry for a cell that failed at `stage`."""
    usual = stage.outcome == usual_failure(stage.name)
    fields = {
        "model": _pattern(cell.model.name),
        "deploy_config": _pattern(cell.flow.label),
        "stage": stage.name,
        **({} if usual else {"outcome": stage.outcome}),
        "reason": f"found: {stage.message or stage.outcome}",
        "link": "",
    }
    return f"{FILL_IN}\n{HEADER}\n{tomlkit.dumps(fields)}".strip()


def _pattern(name: str) -> str:
    """A pattern for a name, in UTF-8: its `?` stands for a byte of a name that is not."""
    return glob.escape(name).encode("utf-8", "replace").decode("utf-8")


def rewritten(text: str, change: Change, path: Path) -> str:
    """The text of a file without the entries removed and with those added.

    Comments right above an entry belong to it; one blank line separates the entries.
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
        comments = "".join(_COMMENTS_AT_END.findall(parts[-1]))
        parts[-1] = parts[-1].removesuffix(comments)
        trivia = table.trivia
        parts.append(f"{comments}{HEADER}{trivia.comment_ws}{trivia.comment}\n{table.as_string()}")
    remaining = [part for i, part in enumerate(parts) if i - 1 not in change.removed]
    return "\n\n".join(p.strip() for p in (*remaining, *change.added) if p.strip()) + "\n"


def _passed(record: CellRecord | None, stage: str) -> bool:
    return any(s.name == stage and not s.failing for s in (record.stages if record else ()))


def _undeclared(record: CellRecord | None) -> StageRecord | None:
    """The stage that an undeclared failure of a cell is of; not of a backend that is missing."""
    if record is None or not is_failure(record.outcome) or record.code in set(Code):
        return None
    return next((s for s in record.stages if s.failing and not s.expected), None)


def by_cell(cells: Iterable[Cell], records: Iterable[CellRecord]) -> dict[str, CellRecord]:
    """Cell's id -> its record, for those cells of a run that have one."""
    by_names = {(r.model, r.deploy_config): r for r in records}
    names = {cell.id: (cell.model.name, cell.flow.deploy_config) for cell in cells}
    return {name: by_names[key] for name, key in names.items() if key in by_names}
