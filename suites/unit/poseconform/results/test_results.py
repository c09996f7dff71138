"""`results.json`: atomic, strict, validated, and in step with the records."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fixtures
from poseconform.results import records as oc
from poseconform.results.results import (
    RESULTS,
    SCHEMA_VERSION,
    ReportError,
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
    assert repr(read.cells) == repr(written.cells)
    assert [c.model for c in read.cells] == ["hrnet_w32", "rtmpose_t"]
    assert list(read.by_id()) == [c.cell_id for c in read.cells]
    assert (read.environment, read.run) == ({"os": "Linux"}, {"seconds": 1.5})


def test_the_file_is_strict_json_and_readable_by_others(tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", results(FULL))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OSError, match="taken"):
        write_results(target, results(FULL))
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_slim_leaves_out_what_a_baseline_does_not_need() -> None:
    slimmed = slim(results(FULL)).cells[0]
    assert (slimmed.images, slimmed.log_tail, slimmed.repro) == ((), "", "")
    assert slimmed.outputs == FULL.outputs


def test_the_schema_is_one_that_others_can_use() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    data = json.loads(RESULTS.dump_json(results(FULL)))
    assert list(validator.iter_errors(data)) == []
    for wrong in ("unknown", 3):
        data["cells"][0]["outcome"] = wrong
        assert list(validator.iter_errors(data))


def test_files_of_the_first_version_still_read() -> None:
    """`version-1.json`: two cells of a baseline, a skipped stage and every field since renamed."""
    path = Path(fixtures.__file__).parent / "results" / "version-1.json"
    old, read = json.loads(path.read_text()), read_results(path)
    assert (old["schema_version"], read.schema_version) == (1, SCHEMA_VERSION)
    assert [c.outcome for c in read.cells] == [c["outcome"] for c in old["cells"]]
    first, raw = read.cells[0], old["cells"][0]
    artifacts = raw["artefacts"]  # codespell:ignore artefacts
    assert [a.file for a in first.artifacts] == [a["file"] for a in artifacts]
    images = raw["pictures"]  # codespell:ignore pictures
    assert [i.name for i in first.images] == [i["name"] for i in images]
    assert first.layers is not None
    assert first.layers.quantized == raw["layers"]["quantised"]  # codespell:ignore quantised
    assert first.dataset is not None
    assert first.dataset.images == raw["dataset"]["pictures"]  # codespell:ignore pictures
    assert [o.headroom for o in first.outputs] == [o["headroom"] for o in raw["outputs"]]
    assert {"skipped"} == {s["outcome"] for s in raw["stages"]} - {s.outcome for s in first.stages}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"results\.json, line 1: found text that is not JSON"),
        ("[]", "found no schema_version; expected schema_version 1 to 2"),
        ('{"schema_version": 99}', "found schema_version 99; expected schema_version 1 to 2"),
        ('{"schema_version": 2, "environment": {}}', r"\$\.cells: Field required"),
        (
            '{"schema_version": 2, "environment": {}, "cells": [{"model": 3}]}',
            r"\$\.cells\[0\]",
        ),
        ('{"schema_version": 1, "environment": {}}', r"\$\.cells: "),
        (
            '{"schema_version": 1, "environment": {}, "cells": [{"outputs": 3, "stages": 4}, 5]}',
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
    assert "results.json" in str(error.value)


def test_wrong_outcomes_and_overlong_values_are_explained(tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", results(FULL))
    data = json.loads(path.read_text())
    data["cells"][0]["graph"]["ops"]["x" * 300] = "one"
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match=r"\$\.cells\[0\]\.graph\.ops\.x+\.\.\.") as error:
        read_results(path)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_missing_and_binary_files_are_explained(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError, match="found no readable text file"):
        read_results(path)
