"""`results.json`: atomic, strict, validated, and in step with the records."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fixtures
from poseconform.results import records as oc
from poseconform.results.results import (
    MAX_BYTES,
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


PLANTED: dict[str, object] = {
    "caught": 1, "total": 2,
    "rows": [{"name": "a", "where": "", "cells": ["c"], "check": "", "link": "", "caught": True}],
    "not_detectable": [{"name": "b", "cell": "c", "ratio": 0.5}],
}  # fmt: skip


def document(**fields: object) -> str:
    values: dict[str, object] = {"schema_version": 2, "environment": {}, "cells": []}
    return json.dumps(values | fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document().replace("{}", '{"a": ' + "9" * 5000 + "}"), "larger than a double holds"),
        (document().replace("[]", "[" * 100_000), "nesting deeper than 32"),
        (document(environment={"a": "\ud800"}), r"\\ud800, half of a surrogate pair"),
        (document().replace("{}", '{"a": 1, "a": 2}'), "the key 'a' twice"),
        (document().replace("{}", '{"a": NaN}'), "NaN, which is no JSON number"),
        (document(cells=5), r"\$\.cells"),
        (document(schema_version=10**300), "an older|schema_version 1000"),
        (document(run={"seconds": "long"}), r"\$\.run.*seconds"),
        (document(run={"seconds": 10**400}), "larger than a double holds"),
        (document(run={"exports": 2**64}), r"\$\.run.*exports"),
        (document(run={"cache_hits": True}), r"\$\.run.*cache_hits"),
        (document(run={"interrupted": ["x"]}), r"\$\.run.*interrupted"),
        (document(run={"planted_defects": 3}), r"\$\.run.*planted_defects"),
        (document(run={"planted_defects": {"total": "many"}}), r"planted_defects\.total"),
        (document(run={"planted_defects": {"rows": 7}}), r"planted_defects\.rows"),
        (document(run={"planted_defects": {"rows": [3]}}), r"planted_defects\.rows\[0\]"),
        (document(run={"planted_defects": {"not_detectable": [{"ratio": "a"}]}}), r"\.ratio"),
        (document(run={"runners": {"a": {"planted_defects": []}}}), r"runners\.a\.planted"),
    ],
)
def test_hostile_files_are_explained_at_once(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ReportError, match=message) as error:
        read_results(path)
    assert time.process_time() - start < 1
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("artifacts", [{"file": "a", "sha256": "", "bytes": 10**300}]),
        ("benign_flips", -(2**63) - 1),
        ("graph", {"ops": {"Conv": 2**64}}),
        ("batches", [10**30]),
    ],
)
def test_counts_fit_in_64_bits(tmp_path: Path, name: str, value: object) -> None:
    path = write_results(tmp_path / "results.json", results(FULL))
    data = json.loads(path.read_text())
    data["cells"][0][name] = value
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match=rf"\$\.cells\[0\]\.{name}.* (less|greater) than"):
        read_results(path)


def test_numbers_of_a_run_that_json_cannot_hold_are_numbers_again(tmp_path: Path) -> None:
    planted = {"not_detectable": [{"name": "b", "ratio": math.inf}]}
    run = {"other": 1, "seconds": math.inf, "planted_defects": planted}
    path = write_results(tmp_path / "r.json", new_results([], environment={}, run=run))
    assert read_results(path).run == run
    assert list(read_results(path).run) == list(run)


def test_planted_defects_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = {"planted_defects": PLANTED, "runners": {"a": {"planted_defects": PLANTED, "x": 1}}}
    path = write_results(tmp_path / "r.json", new_results([FULL], environment={}, run=run))
    assert read_results(path).run == run


def test_names_that_utf8_cannot_hold_lose_nothing(tmp_path: Path) -> None:
    """A file name with a byte that is not UTF-8 is a lone surrogate in Python."""
    name = "m\udcff.py"
    written = new_results(
        [cell(name, reason=name, images=(oc.ImageRecord(name, "AA"),))],
        environment={name: [name, {"b": name}]}, run={"command": name, "selection": (name,)},
    )  # fmt: skip
    read = read_results(write_results(tmp_path / "results.json", written))
    (only,), shown = read.cells, r"m\udcff.py"
    assert (only.model, only.reason, only.images[0].name) == (shown, shown, shown)
    assert read.environment == {shown: [shown, {"b": shown}]}
    assert read.run == {"command": shown, "selection": [shown]}


def test_a_file_too_large_and_a_matrix_too_wide_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a sparse file
    with pytest.raises(ReportError, match=f"found {MAX_BYTES + 1:,} bytes; expected at most"):
        read_results(path)
    many = [cell(f"m{i}", backend=f"b{i}") for i in range(1000)]
    write_results(path, new_results(many, environment={}, run={}))
    with pytest.raises(ReportError, match="1,000 models by 1,000 flows"):
        read_results(path)


def test_a_large_file_is_read_in_seconds(tmp_path: Path) -> None:
    """34 MB of numbers took 20 s of a core."""
    path = tmp_path / "results.json"
    many = 600_000
    output = {"name": "x", "histogram": {"edges": [0.5] * (many + 1), "counts": [1] * many}}
    raw = json.loads(RESULTS.dump_json(results(FULL)))
    raw["cells"][0]["outputs"] = [output]
    path.write_text(json.dumps(raw))
    start = time.process_time()
    assert read_results(path).cells[0].outputs[0].histogram is not None
    assert time.process_time() - start < 1
