"""What changed in outcome between two runs, cell by cell.

| then | now | change |
|---|---|---|
| not failing, or not there | failing | `newly-failing` |
| failing | not failing, and ran | `newly-passing` |
| failing | failing | `still-failing` |
| ran | unavailable, or not there | `missing` |
| not missing | missing | `missing` |
| not there | ran, not failing | `new` |
| anything else | | none |

What the selection of a run leaves out is nobody's loss, so `not-selected` is no change.
"""

from __future__ import annotations

from collections.abc import Mapping

from poseconform.report.data.results import Results
from poseconform.report.data.vocabulary import failed, kind_of, ran
from poseconform.results.outcome import CellRecord

CHANGES: tuple[tuple[str, str], ...] = (  # in the order of interest, with the words for a person
    ("newly-failing", "newly failing"),
    ("missing", "no longer run"),
    ("still-failing", "still failing"),
    ("newly-passing", "newly passing"),
    ("new", "new"),
)


def changes(old: Results, new: Results) -> dict[str, str]:
    """Change by `cell_id`, of the cells of either that changed; see the module's table."""
    before, after = old.by_id(), new.by_id()
    found = {name: _change(before.get(name), after.get(name)) for name in {**before, **after}}
    return {name: change for name, change in sorted(found.items()) if change}


def change_counts(found: Mapping[str, str]) -> tuple[tuple[str, str, int], ...]:
    """Change, words and number of cells, of all changes, in the order of interest."""
    values = list(found.values())
    return tuple((change, words, values.count(change)) for change, words in CHANGES)


def _change(old: CellRecord | None, new: CellRecord | None) -> str:
    failing, failed_before = _fails(new), _fails(old)
    if failing:
        return "still-failing" if failed_before else "newly-failing"
    if new is None or not ran(new):
        return _absent(old, new)
    if failed_before:
        return "newly-passing"
    return "" if old is not None else "new"


def _absent(old: CellRecord | None, new: CellRecord | None) -> str:
    was = "" if old is None else kind_of(old.outcome)
    kind = "" if new is None else kind_of(new.outcome)
    lost = (kind == "missing" != was) or (_ran(old) and kind != "not-selected")
    return "missing" if lost else ""


def _fails(cell: CellRecord | None) -> bool:
    return cell is not None and failed(cell)


def _ran(cell: CellRecord | None) -> bool:
    return cell is not None and ran(cell)
