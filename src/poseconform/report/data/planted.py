"""The planted defects of a run, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poseconform.report.data.fingerprint import RUNNERS, runners_of
from poseconform.report.text.strings import number, one_line, plural, visible


@dataclass(frozen=True)
class PlantedRow:
    """One defect, or a change that is no larger than rounding."""

    name: str
    where: str
    cells: str
    check: str  # that had to catch it, or how far the error was from the limit
    verdict: str  # 'caught', 'not caught' or 'not detectable'
    link: str = ""  # to a public issue


def trust_of(run: Mapping[str, Any]) -> str:
    """How many planted defects were caught, in one line; '' if none was planted."""
    planted = _planted(run)
    if "total" not in planted:
        return ""
    total = plural(int(planted["total"]), "planted defect")
    return f"{planted.get('caught', 0)} of {total} caught"


def planted_of(run: Mapping[str, Any]) -> tuple[PlantedRow, ...]:
    """The rows of the page's table: what was not caught first, what cannot be detected last."""
    rows = []
    for raw in _planted(run).get("rows", ()):
        name, where, check = (
            one_line(str(raw.get(key, ""))) for key in ("name", "where", "check")
        )
        cells = one_line(", ".join(map(str, raw.get("cells", ()))), 400)
        link = visible(str(raw.get("link", "")))
        verdict = "caught" if raw.get("caught") else "not caught"
        link = link if link.startswith("https://") else ""
        rows.append(PlantedRow(name, where, cells, check, verdict, link))
    rows.sort(key=lambda row: row.verdict == "caught")
    for raw in _planted(run).get("not_detectable", ()):
        name, cell = (one_line(str(raw.get(key, ""))) for key in ("name", "cell"))
        share = f"{number(raw.get('ratio'), 2)} of the allowed error"
        rows.append(PlantedRow(name, "", cell, share, "not detectable"))
    return tuple(rows)


def without_planted(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's facts, or those of every runner of a merge, without what has a table of its own."""
    rest = {name: value for name, value in run.items() if name != "planted_defects"}
    if runners := runners_of(run):
        rest[RUNNERS] = {name: without_planted(facts) for name, facts in runners.items()}
    return rest


def _planted(run: Mapping[str, Any]) -> Mapping[str, Any]:
    planted = run.get("planted_defects")
    return planted if isinstance(planted, Mapping) else {}
