"""The record of a cell: strict JSON there and back, and a merge that no order can change."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from poseconform.results.codec import from_plain, to_plain

from poseconform.results import records as oc
from poseconform.results.records import CellRecord, StageRecord, merge_partials

IDENTITY = {
    "model": "rtmpose_t",
    "family": "RTMPose",
    "backend": "onnxruntime",
    "precision": "fp32",
    "shape_mode": "dynamic",
    "deploy_config": "pose-detection_simcc_onnxruntime-fp32_dynamic.py",
    "exporter": "torchscript",
}


OUTCOMES = [
    *("pass", "mismatch", "failed:load", "failed:sdk", "crash", "timeout", "xfail", "xpass"),
    *("not-selected", "missing", "unavailable:no-device", "unavailable:not-installed"),
]


@dataclass(frozen=True)
class Loose:
    value: Any


def part(outcome: str = "pass", **fields: object) -> CellRecord:
    return CellRecord(**IDENTITY, outcome=outcome, **fields)  # type: ignore[arg-type]


measured = st.none() | st.floats(width=32) | st.just(math.nan)
word = st.text(alphabet='ab\u202e<"\n', max_size=3)
stages = st.builds(
    StageRecord,
    name=st.sampled_from(STAGES),
    seconds=st.sampled_from([0.0, -0.0, 0.5, 2.0]),
    outcome=st.sampled_from(STAGE_OUTCOMES),
    message=word,
    code=word,
    expected=st.booleans(),
)
pixels = st.none() | st.builds(oc.PixelError, p50=measured, p99=measured, max=measured)
outputs = st.builds(
    oc.OutputRecord,
    name=st.sampled_from(["simcc_x", "simcc_y"]),
    shape=st.just((1, 17, "W")),
    max_abs=measured,
    headroom=measured,
    keypoint_error_px=pixels,
)
artifacts = st.builds(oc.ArtifactRecord, file=word, sha256=word, bytes=st.integers(0, 9))
partials = st.builds(
    part,
    outcome=st.sampled_from(OUTCOMES),
    code=word,
    reason=word,
    headroom=measured,
    keypoint_error_px=pixels,
    benign_flips=st.none() | st.integers(0, 3),
    stages=st.lists(stages, max_size=4).map(tuple),
    outputs=st.lists(outputs, max_size=3).map(tuple),
    artifacts=st.lists(artifacts, max_size=2).map(tuple),
    graph=st.none() | st.builds(oc.GraphRecord, ops=st.just({"Conv": 3}), nodes=st.integers(0, 3)),
    effective_options=st.dictionaries(word, word, max_size=2),
    latency_ms=st.none()
    | st.builds(oc.LatencyRecord, median=st.floats(1, 2), runs=st.integers(1, 2)),
    batches=st.lists(st.sampled_from([1, 2, 5]), max_size=2).map(tuple),
    images=st.lists(st.builds(oc.ImageRecord, name=word, data=word), max_size=2).map(tuple),
    log_tail=word,
    repro=word,
    tiers=st.lists(word, max_size=2).map(tuple),
    sources=st.lists(st.builds(oc.SourceRecord, runner=word, outcome=word), max_size=2).map(tuple),
)


@given(partials)
def test_json_round_trip_is_exact_and_strict(cell: CellRecord) -> None:
    text = cell.to_json()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    json.loads(text, parse_constant=refuse)
    assert CellRecord.from_json(text).to_json() == text


@given(partials, partials, partials)
def test_merge_is_associative_and_commutative(a: CellRecord, b: CellRecord, c: CellRecord) -> None:
    merged = {merge_partials(order).to_json() for order in permutations((a, b, c))}
    merged.add(merge_partials([merge_partials([a, b]), c]).to_json())
    merged.add(merge_partials([a, merge_partials([b, c])]).to_json())
    assert len(merged) == 1


@given(partials, partials)
def test_merge_is_idempotent(a: CellRecord, b: CellRecord) -> None:
    once = merge_partials([a, b])
    assert merge_partials([once]).to_json() == once.to_json()
    assert merge_partials([a, once, b, a]).to_json() == once.to_json()


@given(st.lists(partials, min_size=1, max_size=4))
def test_an_undeclared_failing_stage_is_never_merged_away(parts: list[CellRecord]) -> None:
    broken = replace(part(), stages=(StageRecord("convert", 0, "failed", "no"),))
    assert is_failure(merge_partials([*parts, broken]).outcome)


@pytest.mark.parametrize(
    ("stage", "outcome", "expected"),
    [
        ("export", "failed", "failed:export"),
        ("load", "crash", "crash"),
        ("run", "timeout", "timeout"),
        ("finite", "mismatch", "failed:finite"),
        ("contract", "mismatch", "failed:contract"),
        ("numeric", "mismatch", "mismatch"),
        ("numeric", "failed", "failed:numeric"),
        ("keypoints", "mismatch", "mismatch"),
        ("sdk", "mismatch", "mismatch"),
        ("sdk", "failed", "failed:sdk"),
    ],
)
def test_outcome_of_the_deciding_stage(stage: str, outcome: str, expected: str) -> None:
    record = StageRecord(stage, 1.0, outcome, "what happened", "WORD")
    merged = merge_partials([part(stages=(StageRecord("export"), record)), part("pass")])
    assert (merged.outcome, merged.reason, merged.code) == (expected, "what happened", "WORD")


def test_the_first_failing_stage_decides() -> None:
    late = part(stages=(StageRecord("sdk", 0, "crash", "client died", "SIGSEGV"),))
    early = part(stages=(StageRecord("numeric", 0, "mismatch", "headroom 7"),))
    assert merge_partials([late, early]).outcome == "mismatch"


def test_crash_wins_at_the_same_stage() -> None:
    crash = part(stages=(StageRecord("numeric", 0, "crash", "died", "SIGABRT"),))
    mismatch = part(stages=(StageRecord("numeric", 0, "mismatch", "headroom 7"),))
    merged = merge_partials([mismatch, crash])
    assert (merged.outcome, merged.code) == ("crash", "SIGABRT")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["unavailable:no-device", "unavailable:no-device"], "unavailable:no-device"),
        (["unavailable:not-installed", "pass"], "pass"),
        (["not-selected", "unavailable:no-device"], "unavailable:no-device"),
        (["missing", "not-selected"], "not-selected"),
        (["pass", "xfail"], "xfail"),
        (["xfail", "xpass", "pass"], "xpass"),
        (["xfail", "failed:load"], "failed:load"),
        (["missing"], "missing"),
    ],
)
def test_outcome_without_stages(parts: list[str], expected: str) -> None:
    assert merge_partials([part(outcome) for outcome in parts]).outcome == expected


def test_a_declared_failure_keeps_its_stage_and_is_no_failure() -> None:
    xfailed = part("xfail", stages=(StageRecord("numeric", 0, "mismatch", "fp16 overflow"),))
    merged = merge_partials([xfailed, part("pass", stages=(StageRecord("sdk"),))])
    assert (merged.outcome, merged.reason) == ("xfail", "fp16 overflow")
    assert [(s.name, s.expected) for s in merged.stages] == [("numeric", True), ("sdk", False)]
    named = replace(xfailed, reason="fp16 overflows in the last norm")
    assert merge_partials([named]).reason == "fp16 overflows in the last norm"
    undeclared = part(stages=(StageRecord("numeric", 0, "mismatch", "fp16 overflow"),))
    assert merge_partials([merged, undeclared]).outcome == "mismatch"


def test_a_stage_already_marked_as_declared_makes_an_xfail() -> None:
    stage = StageRecord("load", 0, "crash", "known", "SIGSEGV", expected=True)
    assert merge_partials([part("pass", stages=(stage,))]).outcome == "xfail"


@pytest.mark.parametrize(
    ("claim", "stages_before", "stage"),
    [
        ("failed:convert", (), "convert"),
        ("mismatch", (), "numeric"),
        ("crash", (StageRecord("export"), StageRecord("load")), "run"),
        ("timeout", (), "export"),
        ("crash", (StageRecord("sdk"),), "sdk"),
    ],
)
def test_a_claimed_failure_gets_a_stage(
    claim: str, stages_before: tuple[StageRecord, ...], stage: str
) -> None:
    merged = merge_partials([part(claim, code="X", reason="why", stages=stages_before)])
    assert merged.outcome == claim
    failing = [s for s in merged.stages if s.failing]
    assert [(s.name, s.message, s.code) for s in failing] == [(stage, "why", "X")]


def test_fields_keep_the_worst_and_lose_nothing() -> None:
    one = part(
        headroom=0.2,
        benign_flips=1,
        batches=(1,),
        outputs=(oc.OutputRecord("simcc_x", headroom=0.2),),
        stages=(StageRecord("export", 3.5),),
        repro="pytest -k long and winding",
        latency_ms=oc.LatencyRecord(4.0, 0.1, 20),
    )
    other = part(
        headroom=math.nan,
        benign_flips=3,
        batches=(5, 2),
        outputs=(oc.OutputRecord("simcc_x", headroom=math.nan), oc.OutputRecord("simcc_y")),
        stages=(StageRecord("export", 0.0),),
        repro="pytest -k x",
        latency_ms=oc.LatencyRecord(3.0, 0.1, 5),
    )
    merged = merge_partials([one, other])
    assert math.isnan(merged.headroom or 0.0)
    assert merged.benign_flips == 3
    assert merged.batches == (1, 2, 5)
    assert [o.name for o in merged.outputs] == ["simcc_x", "simcc_y"]
    assert math.isnan(merged.outputs[0].headroom or 0.0)
    assert merged.stages == (StageRecord("export", 3.5),)
    assert merged.repro == "pytest -k x"
    assert merged.latency_ms == oc.LatencyRecord(4.0, 0.1, 20)


def test_an_artifact_with_two_hashes_shows_twice() -> None:
    files = [oc.ArtifactRecord("end2end.onnx", digest, 7) for digest in ("aa", "bb", "aa")]
    merged = merge_partials([part(artifacts=(f,)) for f in files])
    assert [a.sha256 for a in merged.artifacts] == ["aa", "bb"]


def test_cells_of_a_run_are_grouped_and_sorted() -> None:
    other = CellRecord(**{**IDENTITY, "model": "hrnet_w32"}, outcome="pass")  # type: ignore[arg-type]
    cells = oc.group_cells([part("pass"), other, part("failed:load")])
    assert [(c.model, c.outcome) for c in cells] == [
        ("hrnet_w32", "pass"),
        ("rtmpose_t", "failed:load"),
    ]


def test_parts_of_different_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="exporter: found 'dynamo'; expected 'torchscript'"):
        merge_partials([part(), replace(part(), exporter="dynamo")])
    with pytest.raises(ValueError, match="found no record"):
        merge_partials([])


def test_names_of_a_cell() -> None:
    cell = part()
    assert cell.flow == "onnxruntime-fp32-dynamic"
    config = "pose-detection_simcc_onnxruntime-fp32_dynamic"
    assert cell.cell_id == f"rtmpose_t/{config}/posedeploy/torchscript"


@pytest.mark.parametrize("outcome", ["ok", "failed:cooking", "unavailable:", "failed:", ""])
def test_unknown_outcomes_are_refused(outcome: str) -> None:
    with pytest.raises(ValueError, match="expected failed:<stage>"):
        part(outcome)


def test_unknown_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="found 'cook'; expected one of export"):
        StageRecord("cook")
    with pytest.raises(ValueError, match="outcome of stage load: found 'ok'"):
        StageRecord("load", outcome="ok")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "red"}, r"cell\.color: not a field of CellRecord"),
        ({"headroom": "a lot"}, r"cell\.headroom: found 'a lot'; expected float"),
        ({"headroom": True}, r"cell\.headroom: found True; expected float"),
        ({"benign_flips": True}, r"cell\.benign_flips: found True; expected int"),
        ({"stages": {}}, r"cell\.stages: found {}; expected a list"),
        ({"stages": [{"name": 3}]}, r"cell\.stages\[0\]\.name: found 3; expected str"),
        ({"effective_options": []}, r"effective_options: found \[\]; expected an object"),
        ({"graph": "x" * 99}, r"cell\.graph: found 'xxx.*\.\.\.; expected an object"),
        ({"outputs": [{"name": "y", "shape": [1.5]}]}, r"shape\[0\]: found 1.5; expected int or"),
    ],
)
def test_a_wrong_record_names_the_place(change: dict[str, object], message: str) -> None:
    data = json.loads(part().to_json()) | change
    with pytest.raises(ValueError, match=message):
        CellRecord.from_json(json.dumps(data))


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="cell: CellRecord needs the field 'model'"):
        CellRecord.from_json("{}")


def test_numpy_numbers_become_plain() -> None:
    plain = to_plain({"a": np.float32(0.5), "b": np.int64(3), "c": np.float64("inf")})
    assert plain == {"a": 0.5, "b": 3, "c": "Infinity"}
    with pytest.raises(TypeError, match="cannot be written as JSON: ndarray"):
        to_plain(np.zeros(2))


def test_any_is_taken_as_it_is() -> None:
    assert from_plain(Loose, {"value": [1, {"a": None}]}).value == [1, {"a": None}]


def test_tail_keeps_the_end() -> None:
    log = "\n".join(f"line {i}" for i in range(10_000))
    kept = oc.tail(log, 100)
    assert kept.endswith("line 9999")
    assert "earlier characters left out" in kept.splitlines()[0]
    assert oc.tail("short") == "short"
    assert len(oc.tail("x" * 50_000)) < 16_100
