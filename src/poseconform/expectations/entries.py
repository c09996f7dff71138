"""Declared failures: `suites/expectations/<backend>.toml`, strict, with reason, link and stage.

    [[xfail]]
    model = "litehrnet_18"          # or family = "LiteHRNet"; a pattern: '*' for any
    deploy_config = "ncnn_static-*" # a pattern for the label, which lacks 'pose-detection_'
    version = ">=1.0.20250503,<2"   # of the backend; any if left out
    os = "linux"                    # linux, macos or windows; any if left out
    stage = "numeric"
    outcome = "crash"               # see below; may be left out
    reason = "…"
    link = "https://…"

An entry excuses its stage and nothing else, whichever test the failure shows in. Where `outcome`
is left out, a mismatch is excused where values are compared, and a failure at any other stage. A
crash or a hang is excused only by an entry that names it. An entry whose stage passes fails the
run, and so does one that matches no cell of the whole matrix. One that names a model by its whole
name is matched in runs that judge this model.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from poseconform.matrix.cells import Cell
from poseconform.results.outcome import STAGE_OUTCOMES, STAGES, usual_failure
from poseconform.results.records import CellRecord, StageRecord

FOLDER = Path("suites") / "expectations"  # below pytest's root folder
SYSTEMS = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}  # platform's name -> ours
OUTCOMES = STAGE_OUTCOMES[1:]
_PATTERNS = ("model", "family", "deploy_config")
_REQUIRED = ("stage", "reason", "link")
_ALLOWED = {"stage": STAGES, "outcome": OUTCOMES, "os": tuple(SYSTEMS.values())}
FIELDS = (*_PATTERNS, "version", "os", "outcome", *_REQUIRED)


@dataclass(frozen=True)
class Expectation:
    """One entry of the file of `backend`; `source` is its file and index, for messages.

    `model`, `family` and `deploy_config` (the flow's label) are patterns of `fnmatch`; `version`
    is a specifier of PEP 440. '' stands for any version, any system, and for `usual_failure`.
    """

    backend: str
    model: str
    family: str
    deploy_config: str
    stage: str
    reason: str
    link: str
    version: str = ""
    os: str = ""
    outcome: str = ""
    source: str = ""

    @property
    def note(self) -> str:
        """Reason and link in one line."""
        return f"{self.reason} ({self.link})"

    def matches(self, cell: Cell) -> bool:
        """True if the entry's patterns match this cell, on any version and system."""
        return (
            self.backend == cell.flow.backend
            and fnmatchcase(cell.model.name, self.model)
            and fnmatchcase(cell.model.family, self.family)
            and fnmatchcase(cell.flow.label, self.deploy_config)
        )

    def holds(self, version: str, system: str) -> bool:
        """True for this version of the backend on this system, as `platform.system()` names it."""
        if self.os and self.os != SYSTEMS.get(system):
            return False
        if not self.version:
            return True
        try:
            return SpecifierSet(self.version).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return False  # better a failure than a wrong excuse

    def excuses(self, failure: StageRecord) -> bool:
        """True if the entry declares this failure of a cell that it matches."""
        outcome = self.outcome or usual_failure(self.stage)
        return (failure.name, failure.outcome) == (self.stage, outcome)


class Declarations:
    """The declared failures of a run: which failure is excused, and which entry met none.

    `version_of` gives a backend's version here; `system` is named as `platform.system()` does.
    """

    def __init__(
        self, entries: Iterable[Expectation], version_of: Callable[[str], str], system: str = ""
    ) -> None:
        self._entries = tuple(entries)
        self._version_of = version_of
        self._system = system or platform.system()

    def excuse(self, cell: Cell, failure: StageRecord) -> Expectation | None:
        """The entry that declares this failure of this cell, if there is one."""
        return next((e for e in self._about(cell) if e.excuses(failure)), None)

    def unmet(self, cell: Cell, record: CellRecord) -> tuple[Expectation, ...]:
        """The entries about a cell, all of whose tests have ended, whose stage has passed."""
        passed = {stage.name for stage in record.stages if not stage.failing}
        return tuple(e for e in self._about(cell) if e.stage in passed)

    def holds(self, entry: Expectation) -> bool:
        """True if the conditions of an entry hold here."""
        version = self._version_of(entry.backend) if entry.version else ""
        return entry.holds(version, self._system)

    def _about(self, cell: Cell) -> list[Expectation]:
        return [e for e in self._entries if e.matches(cell) and self.holds(e)]


def refuse_unmatched(entries: Iterable[Expectation], cells: Iterable[Cell]) -> None:
    """Raise a pytest.UsageError that names every entry that matches no cell of the matrix.

    No more of `cells` are taken than it needs.
    """
    unmatched = list(entries)
    for cell in cells:
        unmatched = [e for e in unmatched if not e.matches(cell)]
        if not unmatched:
            return
    lines = [
        f"{e.source}: model {e.model!r}, family {e.family!r}, deploy config {e.deploy_config!r}: "
        f"found no such cell of {e.backend}; expected at least one of the matrix. "
        "Correct the entry, or remove it."
        for e in unmatched
    ]
    if lines:
        raise pytest.UsageError("\n".join(lines))


@cache
def load_expectations(folder: Path) -> tuple[Expectation, ...]:
    """All entries of a folder, if it is there; a pytest.UsageError names what is wrong."""
    return tuple(
        _entry(path, index, raw)
        for path in sorted(folder.glob("*.toml"))
        for index, raw in enumerate(read_entries(path, path.read_bytes()))
    )


def read_entries(path: Path, content: bytes) -> list[dict[str, Any]]:
    """The raw entries of a file's content; a pytest.UsageError names `path` and what is wrong."""
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"{path}: found no TOML ({error}); correct the file.") from error
    raw = data.pop("xfail", [])
    if data or not isinstance(raw, list):
        other = sorted(data) or "another xfail"
        raise pytest.UsageError(f"{path}: found {other}; expected [[xfail]] tables only.")
    return raw


def _entry(path: Path, index: int, raw: dict[str, Any]) -> Expectation:
    where = f"{path}: xfail[{index}]"
    for name in _REQUIRED:
        if not str(raw.get(name, "")).strip():
            raise pytest.UsageError(f"{where}: found no {name}; expected one. Add it.")
    if unknown := set(raw) - set(FIELDS):
        raise pytest.UsageError(f"{where}: unknown {sorted(unknown)}; expected {sorted(FIELDS)}")
    for name, value in raw.items():
        if not isinstance(value, str):
            raise pytest.UsageError(f"{where}: {name} = {value!r}; expected a string")
    for name, allowed in _ALLOWED.items():
        if name in raw and raw[name] not in allowed:
            raise pytest.UsageError(f"{where}: {name} {raw[name]!r}; expected one of {allowed}")
    try:
        SpecifierSet(raw.get("version", ""))
    except InvalidSpecifier as error:
        message = f"{where}: version {raw['version']!r}; expected e.g. '>=1.2,<2'"
        raise pytest.UsageError(message) from error
    patterns = {name: raw.get(name, "*") for name in _PATTERNS}
    rest = {name: raw.get(name, "") for name in FIELDS if name not in _PATTERNS}
    return Expectation(backend=path.stem, source=where, **patterns, **rest)
