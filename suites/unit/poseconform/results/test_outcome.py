"""The outcome of a cell follows from its stages, whatever the order of its tests."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseconform.results import records as rc
from poseconform.results.outcome import STAGE_OUTCOMES, STAGES, is_failure, usual_failure
from poseconform.results.records import CellRecord, StageRecord

IDENTITY: dict[str, Any] = {
    "model": "rtmpose_t", "family": "RTMPose", "backend": "onnxruntime", "precision": "fp32",
    "shape_mode": "dynamic", "deploy_config": "pose-detection_simcc_onnxruntime-fp32_dynamic.py",
    "exporter": "torchscript",
}  # fmt: skip
ABSENT = ("no-device", "found none")


def cell(*stages: StageRecord, **fields: Any) -> CellRecord:
    record = CellRecord(**IDENTITY, **fields)
    for stage in stages:
        record = record.with_stage(stage)
    return record


def failing(name: str, outcome: str = "", message: str = "no", **fields: Any) -> StageRecord:
    return StageRecord(name, 0.0, outcome or usual_failure(name), message, **fields)


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
def test_the_deciding_stage_gives_outcome_code_and_reason(
    stage: str, outcome: str, expected: str
) -> None:
    decided = StageRecord(stage, 1.0, outcome, "what happened", "WORD")
    record = cell(StageRecord("convert"), decided).with_outcome()
    assert (record.outcome, record.reason, record.code) == (expected, "what happened", "WORD")


DECLARED = failing("numeric", message="rounds", expected=True)
UNMET = StageRecord("numeric", message="numeric passed: rounds", expected=True)


@pytest.mark.parametrize(
    ("stages", "unavailable", "unfinished", "expected", "reason"),
    [
        ((), None, "", "missing", "selected, but no test returned a result"),
        ((StageRecord("load"),), None, "", "pass", ""),
        ((StageRecord("load"),), None, "1 of 2", "missing", "1 of 2"),
        ((), ABSENT, "", "unavailable:no-device", "found none"),
        ((StageRecord("convert"),), ABSENT, "", "unavailable:no-device", "found none"),
        ((StageRecord("convert"),), ABSENT, "1 of 2", "missing", "1 of 2"),
        ((failing("convert"),), ABSENT, "1 of 2", "failed:convert", "no"),
        ((failing("sdk"), failing("load", "crash")), None, "", "crash", "no"),
        ((failing("sdk", "crash"), failing("numeric")), None, "", "mismatch", "no"),
        ((DECLARED, StageRecord("sdk")), None, "", "xfail", "rounds"),
        ((DECLARED, failing("load", message="slow", expected=True)), None, "", "xfail", "slow"),
        ((DECLARED,), None, "1 of 2", "missing", "1 of 2"),
        ((DECLARED, failing("sdk")), None, "", "mismatch", "no"),
        ((UNMET, failing("load", expected=True)), None, "", "xpass", "numeric passed: rounds"),
        ((UNMET, failing("sdk")), None, "", "mismatch", "no"),
    ],
)
def test_the_first_row_that_applies_decides(
    stages: tuple[StageRecord, ...],
    unavailable: tuple[str, str] | None,
    unfinished: str,
    expected: str,
    reason: str,
) -> None:
    for order in permutations(stages):
        record = cell(*order).with_outcome(unavailable, unfinished)
        assert (record.outcome, record.reason) == (expected, reason)


stage_records = st.builds(
    StageRecord,
    name=st.sampled_from(STAGES),
    seconds=st.sampled_from([0.0, 0.5, 2.0]),
    outcome=st.sampled_from(STAGE_OUTCOMES),
    expected=st.booleans(),
)


@given(st.lists(stage_records, max_size=5), stage_records)
def test_a_failure_that_was_not_declared_is_never_lost(
    stages: list[StageRecord], broken: StageRecord
) -> None:
    broken = replace(broken, outcome="failed", expected=False)
    for order in ([*stages, broken], [broken, *stages]):
        record = cell(*order).with_outcome(ABSENT, "unfinished")
        assert is_failure(record.outcome)
        assert [s.name for s in record.stages] == [
            name for name in STAGES if name in {s.name for s in order}
        ]


SEVERITIES = [
    StageRecord("run"),
    StageRecord("run", expected=True),
    failing("run", "mismatch", expected=True),
    failing("run", "crash", expected=True),
    failing("run", "mismatch"),
    failing("run", "failed"),
    failing("run", "timeout"),
    failing("run", "crash"),
]


@pytest.mark.parametrize("milder", range(len(SEVERITIES)))
def test_of_one_stage_the_worst_result_stays(milder: int) -> None:
    for worse in SEVERITIES[milder:]:
        for pair in ((SEVERITIES[milder], worse), (worse, SEVERITIES[milder])):
            assert cell(*pair).stages == (worse,)


def test_the_times_of_the_checks_of_a_stage_add_up() -> None:
    record = cell(StageRecord("run", 1.5), failing("load"), StageRecord("run", 2.0))
    assert [(s.name, s.seconds) for s in record.stages] == [("load", 0.0), ("run", 3.5)]


def test_of_an_error_that_is_measured_twice_the_worst_stays() -> None:
    record = cell(headroom=0.5, keypoint_error_px=rc.PixelError(9, 1, 1))
    assert record.with_measurements(headroom=0.25).headroom == 0.5
    assert record.with_measurements(headroom=2.0).headroom == 2.0
    assert math.isnan(record.with_measurements(headroom=math.nan).headroom or 0.0)
    worse = rc.PixelError(0, 2, 1)
    assert record.with_measurements(keypoint_error_px=worse).keypoint_error_px == worse
    assert record.with_measurements(keypoint_error_px=None, headroom=None) == record
    assert record.with_measurements(sdk_client_error_px=worse).sdk_client_error_px == worse
    assert record.with_measurements(benign_flips=2).with_measurements(benign_flips=1) == (
        record.with_measurements(benign_flips=2)
    )


def test_other_measurements_replace_what_was_there() -> None:
    record = cell(batches=(1,)).with_measurements(batches=(1, 2), weights="fitted")
    assert (record.batches, record.weights) == ((1, 2), "fitted")
    with pytest.raises(ValueError, match="color"):
        record.with_measurements(color="red")


def test_measurements_have_a_total_order() -> None:
    values = [None, -math.inf, -1.0, 0.0, 2, math.inf, math.nan]
    assert [rc.rank(v) for v in values] == [
        (0, 0.0), (1, -math.inf), (1, -1.0), (1, 0.0), (1, 2.0), (1, math.inf), (2, 0.0),
    ]  # fmt: skip


def test_which_outcomes_are_failures() -> None:
    bad = ["mismatch", "crash", "timeout", "xpass", "failed:load", "failed:sdk"]
    good = ["pass", "xfail", "not-selected", "missing", "unavailable:no-device"]
    assert [o for o in (*good, *bad) if is_failure(o)] == bad


def test_which_stages_fail() -> None:
    outcomes = [o for o in STAGE_OUTCOMES if StageRecord("load", outcome=o).failing]
    assert outcomes == ["mismatch", "failed", "timeout", "crash"]
    comparing = [stage for stage in STAGES if usual_failure(stage) == "mismatch"]
    assert comparing == ["numeric", "keypoints", "sdk"]


def test_names_of_a_cell() -> None:
    assert cell().flow == "onnxruntime-fp32-dynamic"
    config = "pose-detection_simcc_onnxruntime-fp32_dynamic"
    assert cell().cell_id == f"rtmpose_t/{config}/posedeploy/torchscript"
    assert cell().not_selected().outcome == "not-selected"
