"""`results.json`: the one document that every report is made from.

The file is strict JSON and is valid against `schema.json` of this package.  `schema_version`
grows when a reader of the old version could no longer read the file, or would read it wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from poseconform.report.data.errors import ReportError
from poseconform.results.codec import from_plain, to_plain
from poseconform.results.outcome import CellRecord
from posedeploy.paths import write_text

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Results:
    """What one run, or several merged ones, found.

    Attributes:
        schema_version: Version of the document's form.
        created: When, ISO 8601 with a time zone.
        environment: The fingerprint of the machine: plain values, in groups of plain values
            (`packages`: name to version, and so on).
        run: What was asked for and what it cost: `command`, `selection`, `seconds`, `exports`,
            `cache_hits`, `planted_defects: {caught, total}` and whatever else the judge knows.
        cells: One record a cell.
    """

    schema_version: int = SCHEMA_VERSION
    created: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[CellRecord, ...] = ()

    def by_id(self) -> dict[str, CellRecord]:
        """Cells by `cell_id`, in the order of the document."""
        return {cell.cell_id: cell for cell in self.cells}


def new_results(
    cells: Iterable[CellRecord],
    *,
    environment: Mapping[str, Any],
    run: Mapping[str, Any],
    created: datetime | None = None,
) -> Results:
    """Results of this version, made now (or at `created`, an aware datetime)."""
    moment = created or datetime.now(UTC)
    return Results(
        created=moment.isoformat(timespec="seconds"),
        environment=environment,
        run=run,
        cells=tuple(sorted(cells, key=lambda c: c.cell_id)),
    )


def slim(results: Results) -> Results:
    """The same results without images, logs and commands: what a baseline needs to hold."""
    cells = tuple(replace(c, images=(), log_tail="", repro="") for c in results.cells)
    return replace(results, cells=cells)


def write_results(path: Path, results: Results) -> Path:
    """Write `results` to `path`, whole or not at all; missing folders are made.

    Raises:
        ReportError: What was to be written is not valid (a defect of the caller).
        OSError: The file system refused.
    """
    data = to_plain(results)
    _validate(data, str(path))
    text = json.dumps(data, allow_nan=False, indent=1, ensure_ascii=True) + "\n"
    write_text(path, text)
    return path


def read_results(path: Path) -> Results:
    """The results in the file `path`.

    Raises:
        ReportError: There is no such file, it is not JSON, it is of another version, or it does
            not follow the schema; the message names the place.
    """
    return parse_results(_read_text(path), str(path))


def parse_results(text: str, subject: str) -> Results:
    """The results in `text`; `subject` names the source in errors, which are `read_results`'s."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReportError(
            f"{subject}, line {error.lineno}",
            f"text that is not JSON ({error.msg})",
            "a results.json",
            "If the run that wrote it was interrupted, run it again.",
        ) from error
    _check_version(data, subject)
    _validate(data, subject)
    try:
        return from_plain(Results, data)
    except ValueError as error:
        raise _invalid(subject, str(error)) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            str(path),
            f"no readable text file ({type(error).__name__})",
            "a results.json written by a conformance run",
            "Give the path of one, for example reports/onnxruntime/results.json.",
        ) from error


def _check_version(data: Any, subject: str) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ReportError(
            subject,
            "no schema_version" if version is None else f"schema_version {version!r}",
            f"schema_version {SCHEMA_VERSION}",
            "If it is a results.json, read it with the version of poseconform that wrote it.",
        )


def _validate(data: Any, subject: str) -> None:
    error = best_match(_validator().iter_errors(data))
    if error is not None:
        raise _invalid(subject, f"{error.json_path}: {_brief(error)}")


def _brief(error: ValidationError) -> str:
    return error.message if len(error.message) <= 200 else f"{error.message[:197]}..."


def _invalid(subject: str, detail: str) -> ReportError:
    return ReportError(
        subject,
        f"a value that does not belong there ({detail})",
        "a document valid against poseconform/report/schema.json",
        "Correct that value, or make the file again.",
    )


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`."""
    text = files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
