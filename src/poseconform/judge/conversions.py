"""What a conversion left and said: the judge's evidence for the stages 'export' and 'convert'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseconform.isolation.child import ChildFailure
from poseconform.results.records import StageRecord


@dataclass(frozen=True)
class Conversion:
    """An SDK model folder and what its making said.

    Attributes:
        folder: The folder.
        files: File name -> (sha256, bytes).
        export: Facts of the export; 'made' tells whether it was made now.
        convert: Facts of the conversion, likewise.
        checkpoint_sha256: Hash of the checkpoint it was asked for.
    """

    folder: Path
    files: Mapping[str, tuple[str, int]]
    export: Mapping[str, Any]
    convert: Mapping[str, Any]
    checkpoint_sha256: str


def failing_stage(failure: ChildFailure) -> str:
    """'export' or 'convert': the toolchain's own word if it raised, else the safer guess."""
    last = failure.log_tail
    return "convert" if "convert_exported" in last or "in _deploy" in last else "export"


def stage_records(conversion: Conversion) -> tuple[StageRecord, ...]:
    """Export and convert as stages; what was found in the cache took no time."""
    export, convert = conversion.export, conversion.convert
    return (
        StageRecord("export", float(export["seconds"]) if export["made"] else 0.0),
        StageRecord("convert", float(convert["seconds"]) if convert["made"] else 0.0),
    )
