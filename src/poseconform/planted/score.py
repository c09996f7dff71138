"""How many planted defects a run has caught: from the reports of tests to the page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from poseconform.report.text.strings import markdown_table, number

PROPERTY = "poseconform.defect"  # of a test: the planted defect that it must catch
FILE = "planted-defects.md"


@dataclass(frozen=True)
class Trial:
    """One defect planted in one cell, as a test reports it; `link` is a public issue.

    `ratio` is of a change below the limit of detection: its error over the allowed error.
    """

    defect: str
    where: str = ""
    cell: str = ""
    check: str = ""
    link: str = ""
    ratio: float | None = None

    def to_text(self) -> str:
        """As the value of a test's property."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Trial:
        """What `to_text` wrote, or the bare name of a defect."""
        return cls(**json.loads(text)) if text.startswith("{") else cls(text)


@dataclass
class Score:
    """What was planted in a run, and what was caught."""

    trials: dict[Trial, bool] = field(default_factory=dict)
    limits: dict[Trial, bool] = field(default_factory=dict)

    def add(self, report: pytest.TestReport) -> None:
        """A test has ended; if it planted a defect and was not skipped, its outcome counts."""
        if report.when != "call" or (report.skipped and not hasattr(report, "wasxfail")):
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                trial = Trial.from_text(str(value))
                kind = self.trials if trial.ratio is None else self.limits
                kind[trial] = report.passed

    def facts(self) -> dict[str, Any]:
        """For the run's facts in `results.json`; nothing if no defect was planted."""
        rows = self._rows()
        if not rows:
            return {}
        limits = [
            {"name": t.defect, "cell": t.cell, "ratio": t.ratio}
            for t, passed in self.limits.items()
            if passed
        ]
        caught = sum(row["caught"] for row in rows)
        return {"planted_defects": {
            "caught": caught, "total": len(rows), "rows": rows, "not_detectable": limits,
        }}  # fmt: skip

    def _rows(self) -> list[dict[str, Any]]:
        """One row a defect: caught if it was caught in every cell it was planted in."""
        rows: dict[str, dict[str, Any]] = {}
        for trial, passed in self.trials.items():
            row = rows.setdefault(trial.defect, {
                "name": trial.defect, "where": trial.where, "check": trial.check,
                "link": trial.link, "cells": [], "caught": True,
            })  # fmt: skip
            row["cells"] += [trial.cell] if trial.cell else []
            row["caught"] = row["caught"] and passed
        return list(rows.values())


def summary_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The score, what was not caught, and what is not detectable; nothing if none was planted."""
    planted = facts.get("planted_defects")
    if not planted:
        return
    yield f"planted defects: {planted['caught']} of {planted['total']} caught"
    for row in planted.get("rows", ()):
        if not row["caught"]:
            yield f"  not caught: {row['name']} ({', '.join(row['cells'])})"
    for row in planted.get("not_detectable", ()):
        error = f"{number(row['ratio'], 2)} of the allowed error"
        yield f"  not detectable: {row['name']} ({row['cell']}): {error}"


def table_lines(facts: Mapping[str, Any]) -> list[str]:
    """The score and its table in Markdown; nothing if no defect was planted."""
    planted = facts.get("planted_defects")
    if not planted:
        return []
    defects = markdown_table(
        ("Defect", "Planted in", "Cells", "Caught by", "Caught", "Reported"),
        [
            (row["name"], row["where"], ", ".join(row["cells"]), row["check"],
             "yes" if row["caught"] else "NO", row["link"])
            for row in planted.get("rows", ())
        ],
        400,
    )  # fmt: skip
    limits = markdown_table(
        ("Change", "Cell", "Error \u00f7 allowed"),
        [(r["name"], r["cell"], number(r["ratio"], 2)) for r in planted.get("not_detectable", ())],
        400,
    )
    lines = [f"{planted['caught']} of {planted['total']} planted defects caught."]
    lines += ["", *defects] if defects else []
    note = ["", "Not detectable: these stay within rounding.", ""]
    return [*lines, *note, *limits] if limits else lines


def write_table(folder: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Write the table into a report's folder; the path, or none if no defect was planted."""
    lines = table_lines(facts)
    if not lines:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text("\n".join(["# Planted defects", "", *lines, ""]), encoding="utf-8")
    return [path]
