"""A cell converts to an SDK model."""

from __future__ import annotations

from poseconform.checks.declaration import Verdict, check, differences
from poseconform.judge.judge import Judge
from poseconform.judge.stages import stage_records
from poseconform.matrix.cells import Cell
from poseconform.results.records import ArtifactRecord

JSON_FILES = frozenset({"deploy.json", "detail.json", "pipeline.json"})


@check(stage="convert", suite="conversion", anywhere=True)
def converts(judge: Judge, cell: Cell) -> Verdict:
    """Export and conversion leave a folder with the SDK's JSON files."""
    conversion = judge.conversion(cell)
    missing = sorted(JSON_FILES - set(conversion.files))
    return Verdict(
        differences([("missing files", missing, [])]),
        stages=stage_records(conversion),
        artifacts=tuple(
            ArtifactRecord(name, sha, size) for name, (sha, size) in conversion.files.items()
        ),
        checkpoint_sha256=conversion.checkpoint_sha256,
    )
