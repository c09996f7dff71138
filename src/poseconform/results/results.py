"""`results.json`: the one document that every report is made from.

The file is strict JSON. `schema_version` grows when a reader of the old version could no longer
read the file, or would read it wrongly; files of older versions are upgraded when they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from poseconform.results.errors import ReportError
from poseconform.results.records import CONFIG, CellRecord, place_of
from poseconform.results.upgrade import SCHEMA_VERSION, upgraded
from posedeploy.paths import write_text


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Results:
    """The results of one run, or of several merged ones.

    Attributes:
        schema_version: Version of the document's form.
        created: When, ISO 8601 with a time zone.
        environment: The fingerprint of the machine: plain values, in groups of plain values
            (`packages`: name to version, and so on).
        run: What was asked for and what it cost: `command`, `selection`, `seconds`, `exports`,
            `cache_hits`, `planted_defects: {caught, total}`, and `interrupted`: why the run ended
            before all cells did, if it did.
        cells: One record a cell.
    """

    schema_version: Annotated[int, Field(json_schema_extra={"const": SCHEMA_VERSION})] = (
        SCHEMA_VERSION
    )
    created: str = ""
    environment: Mapping[str, Any]
    run: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[CellRecord, ...]

    def by_id(self) -> dict[str, CellRecord]:
        """Cells by `cell_id`, in the order of the document."""
        return {cell.cell_id: cell for cell in self.cells}

    @property
    def interrupted(self) -> str:
        """Why the run ended before all its cells did; '' if it did not."""
        return str(self.run.get("interrupted", ""))


RESULTS: TypeAdapter[Results] = TypeAdapter(Results)


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


def schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`, generated from the records."""
    document = RESULTS.json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def write_results(path: Path, results: Results) -> Path:
    """Write `results` to `path`, whole or not at all; missing folders are made.

    Raises:
        OSError: The file system refused.
    """
    data = json.loads(RESULTS.dump_json(results))  # NaN and infinity are strings in it
    write_text(path, json.dumps(data, allow_nan=False, indent=1, ensure_ascii=True) + "\n")
    return path


def read_results(path: Path) -> Results:
    """The results in the file `path`.

    Raises:
        ReportError: There is no such file, it is not JSON, it is of a version that is not
            known, or it does not follow the schema; the message names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            str(path),
            f"no readable text file ({type(error).__name__})",
            "a results.json written by a conformance run",
            "Give the path of one, for example reports/onnxruntime/results.json.",
        ) from error
    return parse_results(text, str(path))


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
    try:
        return RESULTS.validate_json(json.dumps(upgraded(data, subject)))
    except ValidationError as error:
        raise ReportError(
            subject,
            f"a value that does not belong there ({place_of(error)})",
            "a document that follows the schema (python -m poseconform.report schema)",
            "Correct that value, or make the file again.",
        ) from error
