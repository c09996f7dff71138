"""The arithmetic of records, exactly: what is cut off, what is kept of two, what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from poseconform.results.codec import dumps, from_plain, to_plain
from poseconform.results.join import join_fields, rank, strongest_stage

from poseconform.results import records as oc
from poseconform.results.records import CellRecord, StageRecord, merge_partials

IDENTITY = {
    "model": "rtmpose_t", "family": "RTMPose", "backend": "onnxruntime", "precision": "fp32",
    "shape_mode": "dynamic", "deploy_config": "pose-detection_simcc_onnxruntime_dynamic.py",
}  # fmt: skip
NAME = "rtmpose_t/pose-detection_simcc_onnxruntime_dynamic/posedeploy"


def part(outcome: str = "pass", **fields: Any) -> CellRecord:
    return CellRecord(**IDENTITY, outcome=outcome, **fields)


# ---- the log's tail --------------------------------------------------------------------------


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
    assert oc.tail(text, limit) == expected


def test_some_two_hundred_lines_of_a_log_are_kept() -> None:
    assert oc.LOG_LIMIT == 16_000
    assert oc.tail("x" * 16_000) == "x" * 16_000
    assert oc.tail("x" * 16_001) == "[1 earlier characters left out]\n" + "x" * 16_000


# ---- one outcome of many ---------------------------------------------------------------------


def test_which_outcomes_are_failures() -> None:
    bad = ["mismatch", "crash", "timeout", "xpass", "failed:load", "failed:sdk"]
    good = ["pass", "xfail", "not-selected", "missing", "unavailable:no-device"]
    assert [o for o in (*good, *bad) if is_failure(o)] == bad


@pytest.mark.parametrize("outcome", ["mismatch", "failed", "timeout", "crash"])
def test_a_declared_failure_is_declared_whole(outcome: str) -> None:
    stages = (
        StageRecord("load", 1.0),
        StageRecord("numeric", 2.0, outcome, "3 is too much", "WORD"),
        StageRecord("sdk", 2.0, "mismatch", "far off", "OTHER"),
    )
    (plain, named) = (
        merge_partials([part("xfail", stages=stages, code=code, reason=reason)])
        for code, reason in (("", ""), ("CODE", "rounds (link)"))
    )
    assert [(s.name, s.expected) for s in plain.stages] == [
        ("load", False), ("numeric", True), ("sdk", True),
    ]  # fmt: skip
    assert (plain.outcome, plain.code, plain.reason) == ("xfail", "WORD", "3 is too much")
    assert (named.outcome, named.code, named.reason) == ("xfail", "CODE", "rounds (link)")
    assert [(s.message, s.code) for s in named.stages] == [
        ("", ""), ("rounds (link)", "CODE"), ("far off", "OTHER"),
    ]  # fmt: skip


def test_of_several_declared_failures_the_first_stage_speaks() -> None:
    late = part("xfail", stages=(StageRecord("sdk", 0, "mismatch", "late", "L"),))
    early = part("xfail", stages=(StageRecord("load", 0, "failed", "early", "E"),))
    for parts in ([late, early], [early, late]):
        merged = merge_partials(parts)
        assert (merged.outcome, merged.code, merged.reason) == ("xfail", "E", "early")


def test_an_xfail_without_a_stage_keeps_its_reason() -> None:
    merged = merge_partials([part("xfail", reason="known", code="C"), part()])
    assert (merged.outcome, merged.code, merged.reason) == ("xfail", "C", "known")


def test_one_failure_that_was_declared_does_not_excuse_another() -> None:
    stages = (
        StageRecord("load", 0, "failed", "known", expected=True),
        StageRecord("sdk", 0, "mismatch", "news", "N"),
    )
    merged = merge_partials([part(stages=stages)])
    assert (merged.outcome, merged.code, merged.reason) == ("mismatch", "N", "news")


def test_an_unexpected_pass_stays_one_beside_declared_failures() -> None:
    stages = (StageRecord("load", 0, "failed", "known", expected=True),)
    merged = merge_partials([part("xpass", stages=stages, reason="numeric passed"), part()])
    assert (merged.outcome, merged.reason) == ("xpass", "numeric passed")


def test_a_stage_without_words_takes_those_of_its_part() -> None:
    stage = StageRecord("load", 0, "failed")
    merged = merge_partials([part("failed:load", reason="no", code="C", stages=(stage,))])
    assert (merged.reason, merged.code) == ("no", "C")
    assert merged.stages == (StageRecord("load", 0, "failed", "no", "C"),)
    worded = replace(stage, message="own words", code="OWN")
    merged = merge_partials([part("failed:load", reason="no", code="C", stages=(worded,))])
    assert (merged.reason, merged.code) == ("own words", "OWN")


@pytest.mark.parametrize(
    ("claim", "name", "outcome"),
    [
        ("failed:contract", "contract", "failed"),
        ("mismatch", "numeric", "mismatch"),
        ("crash", "run", "crash"),
        ("timeout", "run", "timeout"),
    ],
)
def test_a_stage_is_invented_for_a_claim_without_one(claim: str, name: str, outcome: str) -> None:
    passed = (StageRecord("load", 2.0), StageRecord("export", 1.0))
    known = (*passed, StageRecord("sdk", 0.0, "skipped"))
    merged = merge_partials([part(claim, stages=known, reason="why", code="C")])
    (made,) = [s for s in merged.stages if s.failing]
    assert made == StageRecord(name, 0.0, outcome, "why", "C")
    assert {s.name for s in merged.stages} >= {"load", "export", "sdk"}


def test_unavailable_has_its_code_twice() -> None:
    merged = merge_partials([part("unavailable:no-device", reason="found none", code="other")])
    assert (merged.outcome, merged.code) == ("unavailable:no-device", "no-device")
    assert merged.reason == "found none"
    assert merge_partials([part("pass", code="kept")]).code == "kept"


CLAIMS = ("missing", "not-selected", "unavailable:no-device", "pass", "xfail", "xpass")


@pytest.mark.parametrize("lower", range(len(CLAIMS)))
def test_claims_have_an_order(lower: int) -> None:
    for higher in CLAIMS[lower:]:
        for pair in ((CLAIMS[lower], higher), (higher, CLAIMS[lower])):
            parts = [part(o, reason=f"of {o}", code=f"C {o}") for o in pair]
            merged = merge_partials(parts)
            code = "no-device" if higher.startswith("unav") else f"C {higher}"
            assert (merged.outcome, merged.reason, merged.code) == (
                higher, f"of {higher}", code,
            )  # fmt: skip


def test_equal_claims_are_told_apart_by_their_words() -> None:
    parts = [part("pass", code="A", reason="z"), part("pass", code="B", reason="a")]
    for order in (parts, parts[::-1]):
        assert (merge_partials(order).code, merge_partials(order).reason) == ("B", "a")
    parts = [part("pass", reason="y"), part("pass", reason="z")]
    assert merge_partials(parts).reason == merge_partials(parts[::-1]).reason == "z"
    assert merge_partials([part("unavailable:a:b"), part("missing")]).code == "a:b"
    codes = [part("unavailable:no-driver", reason="z"), part("unavailable:wrong-os", reason="a")]
    assert merge_partials(codes).code == merge_partials(codes[::-1]).code == "wrong-os"


@pytest.mark.parametrize("name", [*IDENTITY, "implementation", "exporter"])
def test_parts_of_another_cell_are_refused_with_both_values(name: str) -> None:
    other = replace(part(), **{name: "other"})
    expected = getattr(part(), name)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        merge_partials([part(), part(), other])
    assert str(caught.value) == (
        f"merge_partials: {name}: found 'other'; expected '{expected}' as in the other records "
        f"of {NAME}"
    )


def test_no_parts_are_refused() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        merge_partials([])
    assert str(caught.value) == "merge_partials: found no record; expected at least one"


# ---- what is kept of two -----------------------------------------------------------------------


def test_measurements_have_a_total_order() -> None:
    values = [None, -math.inf, -1.0, 0.0, 2, math.inf, math.nan]
    mixed = [values[i] for i in (6, 3, 0, 5, 1, 4, 2)]
    assert dumps(sorted(mixed, key=rank)) == dumps(values)
    assert [rank(v) for v in values] == [
        (0, 0.0), (1, -math.inf), (1, -1.0), (1, 0.0), (1, 2.0), (1, math.inf), (2, 0.0),
    ]  # fmt: skip


STRENGTHS = [
    StageRecord("run", 9.0, "skipped"),
    StageRecord("run", 1.0, "pass"),
    StageRecord("run", 2.0, "pass"),
    StageRecord("run", 10.0, "pass"),
    StageRecord("run", 9.0, "mismatch", expected=True),
    StageRecord("run", 0.0, "crash", expected=True),
    StageRecord("run", 0.0, "mismatch", "a"),
    StageRecord("run", 0.0, "mismatch", "b"),
    StageRecord("run", 0.0, "failed"),
    StageRecord("run", 0.0, "timeout"),
    StageRecord("run", 0.0, "crash"),
]


@pytest.mark.parametrize("weaker", range(len(STRENGTHS)))
def test_of_one_stage_the_more_telling_record_is_kept(weaker: int) -> None:
    for stronger in STRENGTHS[weaker:]:
        for pair in ((STRENGTHS[weaker], stronger), (stronger, STRENGTHS[weaker])):
            assert strongest_stage(pair) == (stronger,)


def test_stages_come_in_their_order() -> None:
    stages = [StageRecord(name) for name in STAGES]
    assert strongest_stage(stages[::-1]) == tuple(stages)


def output(name: str = "y", **fields: Any) -> oc.OutputRecord:
    return oc.OutputRecord(name, **fields)


# (field, the value that loses, the value that wins)
JOINS: list[tuple[str, Any, Any]] = [
    ("benign_flips", None, 0),
    ("benign_flips", 1, 2),
    ("checkpoint_sha256", "", "ab"),
    ("checkpoint_sha256", "ab", "ac"),
    ("checkpoint_sha256", "b", "aa"),
    ("graph", None, oc.GraphRecord()),
    ("graph", oc.GraphRecord({}, 1), oc.GraphRecord({}, 2)),
    ("headroom", None, 0.5),
    ("headroom", 0.5, 0.75),
    ("headroom", math.inf, math.nan),
    ("keypoint_error_px", None, oc.PixelError()),
    ("keypoint_error_px", oc.PixelError(9, 9, 1), oc.PixelError(0, 0, 2)),
    ("keypoint_error_px", oc.PixelError(9, 1, 1), oc.PixelError(0, 2, 1)),
    ("keypoint_error_px", oc.PixelError(1, 1, 1), oc.PixelError(2, 1, 1)),
    ("sdk_client_error_px", oc.PixelError(9, 9, 1), oc.PixelError(0, 0, 2)),
    ("latency_ms", None, oc.LatencyRecord(1.0)),
    ("latency_ms", None, oc.LatencyRecord(1.0, 0, 0)),
    ("latency_ms", oc.LatencyRecord(9.0, 0, 2), oc.LatencyRecord(1.0, 0, 3)),
    ("latency_ms", oc.LatencyRecord(1.0, 0, 2), oc.LatencyRecord(2.0, 0, 2)),
    ("log_tail", "zz", "aaa"),
    ("log_tail", "aa", "ab"),
    ("outputs", (output(headroom=None),), (output(headroom=0.1),)),
    ("outputs", (output(headroom=0.1, max_abs=9.0),), (output(headroom=0.2, max_abs=1.0),)),
    ("outputs", (output(max_abs=10.0),), (output(max_abs=9e9),)),
    ("outputs", (output(max_abs=9.0),), (output(max_abs=10.0),)),
    ("outputs", (output(dtype="a"),), (output(dtype="b"),)),
    ("images", (oc.ImageRecord("p", "a"),), (oc.ImageRecord("p", "b"),)),
    ("repro", "", "pytest"),
    ("repro", "pytest -k a", "pytest"),
    ("repro", "pytest -k b", "pytest -k a"),
    ("weights", "", "fitted"),
    ("weights", "user", "fitted"),
]


@pytest.mark.parametrize("row", range(len(JOINS)))
def test_of_two_values_one_is_kept_in_either_order(row: int) -> None:
    name, loses, wins = JOINS[row]
    one, other = part(**{name: loses}), part(**{name: wins})
    for pair in ((one, other), (other, one)):
        assert dumps(getattr(join_fields(*pair), name)) == dumps(wins)


# (field, one value, another, both)
UNIONS: list[tuple[str, Any, Any, Any]] = [
    ("batches", (5, 1), (2, 1), (1, 2, 5)),
    ("tiers", ("quick", "default"), ("quick", "all"), ("all", "default", "quick")),
    ("effective_options", {"a": "1", "b": "2"}, {"b": "3", "c": "0"},
     {"a": "1", "b": "3", "c": "0"}),
    ("artifacts", (oc.ArtifactRecord("b", "1", 1),), (oc.ArtifactRecord("a", "1", 1),),
     (oc.ArtifactRecord("a", "1", 1), oc.ArtifactRecord("b", "1", 1))),
    ("sources", (oc.SourceRecord("b", "pass"),), (oc.SourceRecord("a", "crash"),),
     (oc.SourceRecord("b", "pass"), oc.SourceRecord("a", "crash"))),
    ("outputs", (output("y"), output("x")), (output("z"),),
     (output("x"), output("y"), output("z"))),
    ("images", (oc.ImageRecord("q", "1"),), (oc.ImageRecord("p", "2"),),
     (oc.ImageRecord("p", "2"), oc.ImageRecord("q", "1"))),
    ("stages", (StageRecord("sdk"),), (StageRecord("load"),),
     (StageRecord("load"), StageRecord("sdk"))),
]  # fmt: skip


@pytest.mark.parametrize("row", range(len(UNIONS)))
def test_of_two_sets_all_is_kept_once(row: int) -> None:
    name, one, other, both = UNIONS[row]
    a, b = part(**{name: one}), part(**{name: other})
    for pair in ((a, b), (b, a)):
        found = getattr(join_fields(*pair), name)
        if name == "sources":
            assert set(found) == set(both)
        else:
            assert found == both
    assert getattr(join_fields(a, a), name) == getattr(join_fields(join_fields(a, a), a), name)


def test_every_field_of_a_record_is_joined_or_of_its_identity() -> None:
    told = {*IDENTITY, "implementation", "exporter", "outcome", "code", "reason"}
    from poseconform.results.join import _JOINS

    assert {name for name, _ in _JOINS} == set(CellRecord.__dataclass_fields__) - told


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome", ["ok", "passed", "failed", "failed:", "failed:cook", "unavailable:", "load", ""]
)
def test_an_unknown_outcome_is_refused_with_those_there_are(outcome: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        oc.check_outcome(outcome)
    assert str(caught.value) == (
        f"outcome: found '{outcome}'; expected failed:<stage>, unavailable:<code> or crash, "
        "mismatch, missing, not-selected, pass, timeout, xfail, xpass"
    )


@pytest.mark.parametrize("outcome", ["pass", "failed:sdk", "unavailable:x", "xpass", "missing"])
def test_a_known_outcome_is_given_back(outcome: str) -> None:
    assert oc.check_outcome(outcome) == outcome


def test_an_unknown_stage_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        StageRecord("cook")
    assert str(caught.value) == (
        "stage: found 'cook'; expected one of export, convert, load, run, finite, contract, "
        "numeric, keypoints, sdk"
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        StageRecord("load", outcome="ok")
    assert str(caught.value) == (
        "outcome of stage load: found 'ok'; expected skipped, pass, mismatch, failed, timeout, "
        "crash"
    )


def test_which_stages_fail() -> None:
    found = [o for o in STAGE_OUTCOMES if StageRecord("load", outcome=o).failing]
    assert found == ["mismatch", "failed", "timeout", "crash"]


# ---- JSON ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    count: int


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = field(default_factory=tuple)
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    size: float = 0.0
    shape: tuple[int | str, ...] = ()
    flag: bool = False


def test_what_is_left_out_has_its_default() -> None:
    assert from_plain(Outer, {"name": "a"}) == Outer("a")
    data = {
        "name": "a", "inner": {"count": 1}, "many": [{"count": 2}], "by_name": {"x": {"count": 3}},
        "size": 4, "shape": [1, "batch"], "flag": True,
    }  # fmt: skip
    found = from_plain(Outer, data)
    assert found == Outer("a", Inner(1), (Inner(2),), {"x": Inner(3)}, 4.0, (1, "batch"), True)
    assert isinstance(found.size, float)
    assert to_plain(found) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "$: found []; expected an object (Outer)"),
        ({}, "$: Outer needs the field 'name'"),
        ({"name": "a", "x": 1}, "$.x: not a field of Outer"),
        ({"name": None}, "$.name: found None; expected str"),
        ({"name": "a", "inner": 3}, "$.inner: found 3; expected an object (Inner)"),
        ({"name": "a", "inner": {"count": "3"}}, "$.inner.count: found '3'; expected int"),
        ({"name": "a", "inner": {"count": True}}, "$.inner.count: found True; expected int"),
        ({"name": "a", "many": "no"}, "$.many: found 'no'; expected a list"),
        ({"name": "a", "many": [{"count": 1}, 5]},
         "$.many[1]: found 5; expected an object (Inner)"),
        ({"name": "a", "by_name": 1}, "$.by_name: found 1; expected an object"),
        ({"name": "a", "by_name": {"k": {}}}, "$.by_name.k: Inner needs the field 'count'"),
        ({"name": "a", "size": "nan"}, "$.size: found 'nan'; expected float"),
        ({"name": "a", "size": None}, "$.size: found None; expected float"),
        ({"name": "a", "size": False}, "$.size: found False; expected float"),
        ({"name": "a", "shape": [None]}, "$.shape[0]: found None; expected int or str"),
        ({"name": "a", "shape": [True]}, "$.shape[0]: found True; expected int or str"),
        ({"name": "a", "flag": 1}, "$.flag: found 1; expected bool"),
        ({"name": "a", "flag": "x" * 58}, f"$.flag: found '{'x' * 58}'; expected bool"),
        ({"name": "a", "flag": "x" * 59}, f"$.flag: found '{'x' * 56}...; expected bool"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_place(data: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        from_plain(Outer, data)
    assert str(caught.value) == message


def test_the_place_begins_where_the_caller_says() -> None:
    with pytest.raises(ValueError, match=r"^cell\.name: found 3; expected str$"):
        from_plain(Outer, {"name": 3}, "cell")


def test_numbers_that_json_lacks_are_words() -> None:
    values = [math.nan, math.inf, -math.inf, -0.0, 1.5, True, None, "NaN"]
    assert to_plain(values)[:3] == ["NaN", "Infinity", "-Infinity"]
    assert dumps(values) == '["NaN","Infinity","-Infinity",0.0,1.5,true,null,"NaN"]'
    for word, value in (("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf)):
        assert str(from_plain(Outer, {"name": "a", "size": word}).size) == str(value)


def test_json_is_compact_sorted_and_ascii() -> None:
    assert dumps({"b": "é", "a": (1, 2)}) == '{"a":[1,2],"b":"\\u00e9"}'
    assert dumps({1: 2}) == '{"1":2}'
    assert json.loads(part().to_json())["model"] == "rtmpose_t"


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError) as caught:
        to_plain({"a": object})
    assert str(caught.value) == "cannot be written as JSON: type <class 'object'>"
    with pytest.raises(TypeError, match=r"^cannot be written as JSON: type <class '.*Inner'>$"):
        to_plain(Inner)


def test_the_name_of_a_cell_leaves_out_what_is_empty() -> None:
    assert part().cell_id == NAME
    assert part(exporter="dynamo").cell_id == f"{NAME}/dynamo"
    assert part(implementation="").cell_id == NAME.removesuffix("/posedeploy")
    assert part().flow == "onnxruntime-fp32-dynamic"


def test_a_record_that_is_wrong_is_called_a_cell() -> None:
    with pytest.raises(ValueError, match=r"^cell: found \[\]; expected an object \(CellRecord\)$"):
        CellRecord.from_json("[]")
    assert CellRecord.from_json(part("crash", code="X").to_json()) == part("crash", code="X")
