"""Export and conversion of a cell as stages of its record."""

from __future__ import annotations

from poseconform.isolation.child import ChildFailure
from poseconform.results.records import StageRecord
from poseconform.subject.protocol import Conversion


def stage_records(conversion: Conversion) -> tuple[StageRecord, ...]:
    """Export and convert as stages; what was found in the cache took no time."""
    export, convert = conversion.export, conversion.convert
    return (
        StageRecord("export", float(export["seconds"]) if export["made"] else 0.0),
        StageRecord("convert", float(convert["seconds"]) if convert["made"] else 0.0),
    )


def conversion_stage(failure: ChildFailure) -> str:
    """Where a cell fails whose conversion has failed: 'export' or 'convert'.

    An implementation that names a later stage, such as 'load' of what it has just written, has
    exported; one that names none has said nothing of an export.
    """
    return "export" if failure.stage in {"", "model", "checkpoint", "export"} else "convert"
