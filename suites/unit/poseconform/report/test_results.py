"""`results.json`: atomic, strict, validated, and in step with the records."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poseconform.results import records as oc
from poseconform.results.errors import ReportError
from poseconform.results.results import (
    Results,
    new_results,
    read_results,
    schema,
    slim,
    write_results,
)


def cell(model: str = "rtmpose_t", **fields: object) -> oc.CellRecord:
    values: dict[str, object] = {
        "family": "RTMPose",
        "backend": "onnxruntime",
        "precision": "fp32",
        "shape_mode": "static",
        "deploy_config": "pose-detection_simcc_onnxruntime-fp32_static-256x192.py",
        "outcome": "pass",
    }
    return oc.CellRecord(model=model, **(values | fields))  # type: ignore[arg-type]


FULL = cell(
    tiers=("quick",),
    headroom=math.nan,
    keypoint_error_px=oc.PixelError(0.01, 0.2, math.inf),
    stages=(oc.StageRecord("load", 0.5, "crash", "died", "SIGSEGV"),),
    outputs=(
        oc.OutputRecord(
            "simcc_x",
            (1, 17, "W"),
            "float32",
            max_abs=1e-4,
            keypoint_error_px=oc.PixelError(),
            histogram=oc.HistogramRecord((-8.0, -7.0), (3,)),
        ),
    ),
    artifacts=(oc.ArtifactRecord("end2end.onnx", "ab", 7),),
    graph=oc.GraphRecord({"Conv": 2}, 2, 17, 8),
    effective_options={"threads": "1"},
    latency_ms=oc.LatencyRecord(3.2, 0.1, 20),
    images=(oc.ImageRecord("astronaut", "AAAA"),),
    sources=(oc.SourceRecord("linux", "pass"),),
    log_tail="a log",
    repro="pytest ...",
)


def results(*cells: oc.CellRecord) -> Results:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return new_results(cells, environment={"os": "Linux"}, run={"seconds": 1.5}, created=moment)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "results.json"
    written = results(FULL, cell("hrnet_w32"))
    write_results(path, written)
    read = read_results(path)
    assert read.created == "2026-01-02T03:04:05+00:00"
    assert [c.to_json() for c in read.cells] == [c.to_json() for c in written.cells]
    assert [c.model for c in read.cells] == ["hrnet_w32", "rtmpose_t"]
    assert list(read.by_id()) == [c.cell_id for c in read.cells]
    assert (read.environment, read.run) == ({"os": "Linux"}, {"seconds": 1.5})


def test_the_file_is_strict_json_and_readable_by_others(tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", results(FULL))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: object) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    bad = Results(environment={}, cells=(cell(shape_mode="wobbly"),))
    with pytest.raises(ReportError, match="shape_mode"):
        write_results(path, bad)
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OSError, match="taken"):
        write_results(target, results(FULL))
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results.json", "taken"]


def test_slim_leaves_out_what_a_baseline_does_not_need() -> None:
    kept = slim(results(FULL)).cells[0]
    assert (kept.images, kept.log_tail, kept.repro) == ((), "", "")
    assert kept.outputs == FULL.outputs


def _schema_of(kind: type) -> set[str]:
    names = {"CellRecord": "cell", "PixelError": "pixels"}
    name = names.get(kind.__name__, kind.__name__.removesuffix("Record").lower())
    return set(schema()["$defs"][name]["properties"])


@pytest.mark.parametrize(
    "kind",
    [
        oc.ArtifactRecord,
        oc.CellRecord,
        oc.GraphRecord,
        oc.HistogramRecord,
        oc.LatencyRecord,
        oc.OutputRecord,
        oc.ImageRecord,
        oc.PixelError,
        oc.SourceRecord,
        oc.StageRecord,
    ],
)
def test_schema_and_records_have_the_same_fields(kind: type) -> None:
    assert _schema_of(kind) == {f.name for f in dataclasses.fields(kind)}


def test_schema_knows_the_vocabulary() -> None:
    stage = schema()["$defs"]["stage"]["properties"]
    assert tuple(stage["name"]["enum"]) == STAGES
    assert tuple(stage["outcome"]["enum"]) == STAGE_OUTCOMES
    assert set(schema()["properties"]) == {f.name for f in dataclasses.fields(Results)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"results\.json, line 1: found text that is not JSON"),
        ("[]", "found no schema_version; expected schema_version 1"),
        ('{"schema_version": 99}', "found schema_version 99; expected schema_version 1"),
        ('{"schema_version": 1, "environment": {}}', "'cells' is a required property"),
        (
            '{"schema_version": 1, "environment": {}, "cells": [{"model": 3}]}',
            r"\$\.cells\[0\]",
        ),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=message) as error:
        read_results(path)
    assert error.value.exit_code == 2
    assert "results.json" in error.value.subject


def test_wrong_outcomes_and_overlong_values_are_explained(tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", results(FULL))
    data = json.loads(path.read_text())
    data["cells"][0]["outcome"] = "fine" * 200
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match=r"\$\.cells\[0\]\.outcome: .*\.\.\.") as error:
        read_results(path)
    assert len(str(error.value)) < 600


def test_what_the_schema_cannot_see_is_still_refused(tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", results(FULL))
    data = json.loads(path.read_text())
    data["created"] = "now"
    del data["cells"][0]["outputs"][0]["histogram"]["counts"]
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match="histogram"):
        read_results(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_missing_and_binary_files_are_explained(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError, match="found no readable text file"):
        read_results(path)
