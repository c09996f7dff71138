"""`results.json`: the one document that every report is made from.

The file is strict JSON. `schema_version` grows when a reader of the old version could no longer
read the file, or would read it wrongly. A file of an older version is upgraded when it is read:

Version 2 (from 1): names are those of `_RENAMED`; outputs lack what was never measured; a stage
cannot be `skipped`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from poseconform.results.records import (
    CONFIG,
    CellRecord,
    Count,
    Facts,
    Number,
    Text,
    place_of,
)
from posedeploy import strictjson
from posedeploy.paths import write_text

SCHEMA_VERSION = 2
_Version = Annotated[int, Field(json_schema_extra={"const": SCHEMA_VERSION})]
_RENAMED = {
    "artefacts": "artifacts",  # codespell:ignore artefacts
    "pictures": "images",  # codespell:ignore pictures
    "quantised": "quantized",  # codespell:ignore quantised
}
_NEVER_MEASURED = frozenset({"argmax_flips", "benign_flips", "keypoint_error_px", "oks"})
MAX_BYTES = 256 * 2**20  # real files have 1 to 30 MB
MAX_MATRIX = 200_000  # models x flows that a page can show; real ones have 1,000


class ReportError(Exception):
    """An input of the report cannot be used: which, what it is, what was expected, what to do."""

    exit_code: ClassVar[int] = 2

    def __init__(self, subject: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(subject, found, expected, next_step)

    def __str__(self) -> str:
        return "{}: found {}; expected {}. {}".format(*self.args)


class _Planted(TypedDict, total=False):
    """A planted defect, or a change that is too small to be detected."""

    name: Text
    where: Text
    cell: Text
    cells: list[Text]
    check: Text
    link: Text
    caught: bool
    ratio: Number | None


class _PlantedDefects(TypedDict, total=False):
    """The planted defects of a run."""

    caught: Count
    total: Count
    rows: list[_Planted]
    not_detectable: list[_Planted]


class _RunFacts(TypedDict, total=False):
    """The facts of a run that the report computes with; there may be others."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    seconds: Number
    exports: Count
    cache_hits: Count
    interrupted: Text
    planted_defects: _PlantedDefects
    runners: Mapping[str, _RunFacts]


_RUN_FACTS: TypeAdapter[_RunFacts] = TypeAdapter(_RunFacts)


def _checked_run(run: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        read: Mapping[str, Any] = _RUN_FACTS.validate_python(run, strict=True)
    except ValidationError as error:
        raise ValueError(place_of(error)) from error
    return {name: read[name] for name in run}


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Results:
    """The results of one run, or of several merged ones.

    `environment` is the fingerprint of the machine: plain values, and groups of them (`packages`).
    `run` is what was asked for and what it cost: `command`, `selection`, `seconds`, `exports`,
    `cache_hits`, `planted_defects`, and `interrupted`: why the run ended early, if it did.
    """

    schema_version: _Version = SCHEMA_VERSION
    created: Text = ""  # ISO 8601 with a time zone
    environment: Facts
    run: Annotated[Facts, AfterValidator(_checked_run)] = field(default_factory=dict)
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
    """Write `results` to `path`, whole or not at all; missing folders are made."""
    data = json.loads(RESULTS.dump_json(results))  # NaN and infinity are strings in it
    write_text(path, json.dumps(data, allow_nan=False, indent=1, ensure_ascii=True) + "\n")
    return path


def read_results(path: Path) -> Results:
    """The results in the file `path`; a ReportError names the place that cannot be read."""
    text = _read_text(path)
    try:
        data = strictjson.parse(text)
    except ValueError as error:
        found, where = str(error), str(path)
        if isinstance(error, json.JSONDecodeError):
            found, where = f"text that is not JSON ({error.msg})", f"{path}, line {error.lineno}"
        raise ReportError(
            where,
            found,
            "a results.json",
            "If the run that wrote it was interrupted, run it again.",
        ) from error
    upgraded = _upgraded(data, path)
    try:
        results = RESULTS.validate_json(text if upgraded is data else json.dumps(upgraded))
    except ValidationError as error:
        raise ReportError(
            str(path), f"a value that does not belong there ({place_of(error)})",
            "a document that follows the schema (python -m poseconform.report schema)",
            "Correct that value, or make the file again.",
        ) from error  # fmt: skip
    models, flows = ({*map(part, results.cells)} for part in _AXES)
    if len(models) * len(flows) > MAX_MATRIX:
        raise ReportError(
            str(path), f"{len(models):,} models by {len(flows):,} flows",
            f"at most {MAX_MATRIX:,} cells, which a page can show", "Split it into smaller files.",
        )  # fmt: skip
    return results


def _read_text(path: Path) -> str:
    expected = "a results.json written by a conformance run"
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ReportError(
                str(path), f"{size:,} bytes", f"at most {MAX_BYTES:,}",
                "Give the path of a results.json, or split it into smaller files.",
            )  # fmt: skip
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            str(path), f"no readable text file ({type(error).__name__})", expected,
            "Give the path of one, for example reports/onnxruntime/results.json.",
        ) from error  # fmt: skip


# What a row and a column of the report's matrix is made of.
_AXES: tuple[Callable[[CellRecord], tuple[str, ...]], ...] = (
    lambda cell: (cell.family, cell.model),
    lambda cell: (cell.flow, cell.exporter, cell.implementation),
)


def _upgraded(document: Any, path: Path) -> dict[str, Any]:
    """The content of a file of any version in the form of this one."""
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version == SCHEMA_VERSION:
        return document  # type: ignore[no-any-return]
    if version != 1:
        found = "no schema_version" if version is None else f"schema_version {version!r:.40}"
        raise ReportError(
            str(path), found, f"schema_version 1 to {SCHEMA_VERSION}",
            "If it is a results.json, read it with the version of poseconform that wrote it.",
        )  # fmt: skip
    cells = _renamed(document.get("cells"))
    for cell in _dicts(cells):
        for output in _dicts(cell.get("outputs")):
            for name in _NEVER_MEASURED & output.keys():
                del output[name]
        if isinstance(cell.get("stages"), list):
            cell["stages"] = [s for s in _dicts(cell["stages"]) if s.get("outcome") != "skipped"]
    return {**document, "schema_version": SCHEMA_VERSION, "cells": cells}


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {_RENAMED.get(name, name): _renamed(item) for name, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; what is none, or is no list, is for the reader to refuse."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
