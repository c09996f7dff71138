"""Records: strict JSON there and back, and what is refused."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from poseconform.results import records as rc
from poseconform.results.outcome import STAGE_OUTCOMES, STAGES
from poseconform.results.records import CELL_RECORD, CellRecord, StageRecord

IDENTITY: dict[str, Any] = {
    "model": "rtmpose_t", "family": "RTMPose", "backend": "onnxruntime", "precision": "fp32",
    "shape_mode": "dynamic", "deploy_config": "pose-detection_simcc_onnxruntime_dynamic.py",
}  # fmt: skip
measured = st.none() | st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])
word = st.text(alphabet='ab\u202e<"\n', max_size=3)
pixels = st.none() | st.builds(rc.PixelError, p50=measured, p99=measured, max=measured)
stage_records = st.builds(
    StageRecord,
    name=st.sampled_from(STAGES),
    seconds=st.sampled_from([0.0, -0.0, 0.5, math.inf]),
    outcome=st.sampled_from(STAGE_OUTCOMES),
    message=word,
    code=word,
    expected=st.booleans(),
)
outputs = st.builds(
    rc.OutputRecord, name=word, shape=st.just((1, 17, "W")), max_abs=measured, headroom=measured,
    histogram=st.none() | st.just(rc.HistogramRecord((-8.0, -7.0), (3,))),
)  # fmt: skip
cells = st.builds(
    CellRecord,
    **{name: st.just(value) for name, value in IDENTITY.items()},
    outcome=st.sampled_from(["pass", "failed:load", "crash", "unavailable:no-device", "missing"]),
    code=word,
    reason=word,
    headroom=measured,
    keypoint_error_px=pixels,
    benign_flips=st.none() | st.integers(0, 3),
    stages=st.lists(stage_records, max_size=4).map(tuple),
    outputs=st.lists(outputs, max_size=3).map(tuple),
    artifacts=st.lists(
        st.builds(rc.ArtifactRecord, file=word, sha256=word, bytes=st.integers(0, 9)), max_size=2
    ).map(tuple),
    graph=st.none() | st.builds(rc.GraphRecord, ops=st.just({"Conv": 3}), nodes=st.integers(0, 3)),
    effective_options=st.dictionaries(word, word, max_size=2),
    latency_ms=st.none() | st.builds(rc.LatencyRecord, median=st.floats(1, 2)),
    images=st.lists(st.builds(rc.ImageRecord, name=word, data=word), max_size=2).map(tuple),
    accuracy=st.none() | st.builds(rc.AccuracyRecord, oks=measured),
    layers=st.none() | st.builds(rc.LayersRecord, quantized=st.just(3), multiplying=st.just(4)),
    log_tail=word,
    tiers=st.lists(word, max_size=2).map(tuple),
    sources=st.lists(st.builds(rc.SourceRecord, runner=word, outcome=word), max_size=2).map(tuple),
)


def record(**fields: Any) -> CellRecord:
    return CellRecord(**IDENTITY, **fields)


@given(cells)
def test_json_round_trip_is_exact_and_strict(cell: CellRecord) -> None:
    text = CELL_RECORD.dump_json(cell)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert CELL_RECORD.dump_json(CELL_RECORD.validate_json(text)) == text


def test_numbers_that_json_cannot_hold_are_words() -> None:
    for value, word in ((math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")):
        data = json.loads(CELL_RECORD.dump_json(record(headroom=value)))
        assert data["headroom"] == word
    assert json.loads(CELL_RECORD.dump_json(record(headroom=-0.0)))["headroom"] == 0
    assert "-0" not in CELL_RECORD.dump_json(record(headroom=-0.0)).decode()


def test_numbers_of_numpy_are_numbers() -> None:
    made = record(headroom=np.float32(0.5), keypoint_error_px=rc.PixelError(max=np.float64(2)))
    assert made == record(headroom=0.5, keypoint_error_px=rc.PixelError(max=2.0))
    assert type(made.headroom) is float
    counted = record(benign_flips=np.int64(3), batches=(np.int32(2),))
    assert counted == record(benign_flips=3, batches=(2,))
    assert type(counted.benign_flips) is int


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "red"}, r"\$\.color: Unexpected keyword argument"),
        ({"headroom": "a lot"}, r"\$\.headroom: Input should be a valid number"),
        ({"headroom": True}, r"\$\.headroom: Input should be a valid number"),
        ({"benign_flips": True}, r"\$\.benign_flips: Input should be a valid integer"),
        ({"benign_flips": 1.5}, r"\$\.benign_flips: "),
        ({"stages": {}}, r"\$\.stages: Input should be a valid (tuple|array)"),
        ({"stages": [{"name": 3}]}, r"\$\.stages\[0\]\.name: Input should be a valid string"),
        ({"effective_options": []}, r"\$\.effective_options: "),
        ({"graph": "x" * 99}, r"\$\.graph: "),
        ({"outputs": [{"name": "y", "shape": [1.5]}]}, r"\$\.outputs\[0\]\.shape\[0\]"),
        ({"shape_mode": "wobbly"}, r"\$\.shape_mode: String should match"),
    ],
)
def test_a_wrong_record_names_the_place(change: dict[str, object], message: str) -> None:
    data = json.loads(CELL_RECORD.dump_json(record())) | change
    with pytest.raises(ValidationError) as caught:
        CELL_RECORD.validate_json(json.dumps(data))
    assert re.search(message, rc.place_of(caught.value))


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        CELL_RECORD.validate_json("{}")
    assert rc.place_of(caught.value).startswith("$.model: Field required")


@pytest.mark.parametrize(
    "outcome", ["ok", "passed", "failed", "failed:", "failed:cook", "unavailable:", "load", ""]
)
def test_an_unknown_outcome_is_refused_with_those_there_are(outcome: str) -> None:
    with pytest.raises(ValidationError, match=r"missing\|not-selected\|pass"):
        record(outcome=outcome)


@pytest.mark.parametrize("outcome", ["pass", "failed:sdk", "unavailable:x", "xpass", "missing"])
def test_a_known_outcome_is_taken(outcome: str) -> None:
    assert record(outcome=outcome).outcome == outcome


def test_notes_of_several_checks_add_up_each_once() -> None:
    first = record().with_measurements(notes=("a", "b"))
    assert first.with_measurements(notes=("b", "c"), headroom=0.1).notes == ("a", "b", "c")
    assert first.with_measurements(headroom=0.1).notes == ("a", "b")


def test_an_unknown_stage_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ValidationError,
        match="stage: found 'cook'; expected one of export, convert, load, run, finite, contract, "
        "numeric, keypoints, sdk",
    ):
        StageRecord("cook")
    with pytest.raises(
        ValidationError,
        match="outcome of stage load: found 'ok'; expected one of pass, mismatch, failed, "
        "timeout, crash",
    ):
        StageRecord("load", outcome="ok")


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "[1 earlier characters left out]\nbcde"),
        ("abc\ndefgh", 6, "[4 earlier characters left out]\ndefgh"),
        ("abcdef\ngh", 6, "[3 earlier characters left out]\ndef\ngh"),  # no start of a line soon
        ("ab\ncd\nefgh", 6, "[6 earlier characters left out]\nefgh"),
        ("xxa\nb\ncdefgh", 10, "[4 earlier characters left out]\nb\ncdefgh"),
        ("xab\ncd", 5, "[1 earlier characters left out]\nab\ncd"),
        ("abcd\nefgh", 5, "[5 earlier characters left out]\nefgh"),
        ("abcdef\nghi", 6, "[7 earlier characters left out]\nghi"),
    ],
)
def test_a_long_log_loses_its_beginning_to_the_next_line(
    text: str, limit: int, expected: str
) -> None:
    assert rc.tail(text, limit) == expected


def test_some_two_hundred_lines_of_a_log_stay() -> None:
    assert rc.tail("x" * 16_000) == "x" * 16_000
    assert rc.tail("x" * 16_001) == "[1 earlier characters left out]\n" + "x" * 16_000
