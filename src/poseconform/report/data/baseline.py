"""Baselines: the results of a platform that runs are compared with.

A baseline is a `results.json` without images, logs and commands that has only the cells that ran.
An update changes the cells that the run judged and leaves the others as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from poseconform.report.data.diff import Diff, diff_results
from poseconform.report.data.fingerprint import one_liner
from poseconform.report.data.vocabulary import ran
from poseconform.results.records import CellRecord
from poseconform.results.results import Results, read_results, slim, write_results


def platform_name(environment: Mapping[str, Any]) -> str:
    """Name of a platform in file names: system and processor family, e.g. `linux-x86_64`."""
    system, cpu = environment.get("os"), environment.get("cpu")
    name = system.get("system", "") if isinstance(system, Mapping) else str(system or "")
    machine = cpu.get("machine", "") if isinstance(cpu, Mapping) else ""
    letters = re.match(r"[A-Za-z]+", str(environment.get("platform") or name))
    parts = (letters.group() if letters else "unknown", machine)
    return "-".join(part.lower() for part in parts if part)


def baseline_path(folder: Path, environment: Mapping[str, Any]) -> Path:
    """Where in `folder` the baseline of a platform lies."""
    return folder / f"{platform_name(environment)}.json"


def compare_with_baseline(results: Results, path: Path) -> Diff | None:
    """What changed since the baseline in the file `path`; None if there is no such file."""
    if not path.exists():
        return None
    return diff_results(comparable(read_results(path), results), results)


def comparable(baseline: Results, results: Results) -> Results:
    """The part of `baseline` that a run can be compared with.

    A run has a record of every cell of its matrix: a model without any was not selected, and
    neither was an exporter or another implementation.
    """
    judged = {_what(cell) for cell in results.cells}
    cells = tuple(cell for cell in baseline.cells if _what(cell) in judged)
    return replace(baseline, cells=cells)


def _what(cell: CellRecord) -> tuple[str, str, str]:
    return cell.model, cell.implementation, cell.exporter


def updated_baseline(old: Results | None, new: Results) -> Results:
    """The baseline that `new` makes of `old`: judged cells replaced, the others as they were."""
    judged = {cell.cell_id: cell for cell in slim(new).cells if ran(cell)}
    cells = {**({} if old is None else old.by_id()), **judged}
    run = {"made on": one_liner(new.environment)}
    return replace(new, run=run, cells=tuple(cells[name] for name in sorted(cells)))


def update_baseline(results: Results, path: Path, *, write: bool) -> Diff:
    """What an update of the baseline in the file `path` changes; with `write` it is done."""
    old = read_results(path) if path.exists() else None
    new = updated_baseline(old, results)
    diff = diff_results(old or replace(new, cells=()), new)
    if write:
        write_results(path, new)
    return diff
