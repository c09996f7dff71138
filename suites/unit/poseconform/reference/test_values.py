"""A reference is read as it was written, and knows where its own decisions are near ties."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.builders import make_people, make_reference, make_truth
from poseconform.compare.tolerances import tolerance_for
from poseconform.reference.values import DETECTION_OUTPUTS, FILE, RefError, read_reference

ROW = tolerance_for("*", "fp32")


def written(tmp_path: Path, **more: Any) -> Path:
    arrays: dict[str, Any] = {
        "inputs": np.zeros((2, 3, 4, 4), np.float32),
        "keypoints": np.arange(12.0).reshape(2, 3, 2),
        "scores": np.arange(6.0).reshape(2, 3),
        "argmax_gap": np.ones((2, 3)),
        "shift_gap": np.full((2, 3), np.inf),
        **{f"image_keypoints:{i}": np.full((1, 3, 2), i, float) for i in range(2)},
        **{f"image_scores:{i}": np.ones(1) for i in range(2)},
        **{f"image_labels:{i}": np.zeros(1, np.int64) for i in range(2)},
    }
    np.savez(tmp_path / FILE, **arrays | more)
    return tmp_path


def test_a_top_down_reference_comes_back(tmp_path: Path) -> None:
    output = np.random.default_rng(0).normal(size=(2, 3, 4))
    yard = np.array([1.0, 2.0, 3.0, 4.0])
    folder = written(tmp_path, **{"output:simcc_x": output, "ref_error:simcc_x": yard})
    found = read_reference(folder, {"seconds": 1.0})
    assert not found.bottom_up
    np.testing.assert_array_equal(found.outputs["simcc_x"], output)
    assert found.ref_errors == {"simcc_x": RefError(1.0, 2.0, 3.0, 4.0)}
    np.testing.assert_array_equal(found.keypoints, np.arange(12.0).reshape(2, 3, 2))
    assert [float(k.mean()) for k in found.image_keypoints] == [0.0, 1.0]
    assert found.facts == {"seconds": 1.0}


def test_a_bottom_up_reference_comes_back(tmp_path: Path) -> None:
    labels, ties = np.array([1, 0]), np.array([False, True])
    people, more = replace(make_people([0.9, 0.4]), labels=labels, class_ties=ties), {}
    for i in range(2):
        for field in fields(people):
            more[f"{field.name}:{i}"] = getattr(people, field.name)
        more |= {f"stable:{i}": np.array([True, False]), f"base:{i}": np.array([True, True])}
    more |= {f"ref_error:{name}": np.ones(4) for name in DETECTION_OUTPUTS}
    found = read_reference(written(tmp_path, **more), {})
    assert found.bottom_up
    assert len(found.detections) == 2
    np.testing.assert_array_equal(found.detections[1].possible.boxes, people.boxes)
    assert found.detections[0].stable.tolist() == [True, False]
    assert found.detections[0].possible.labels is not None
    assert found.detections[0].possible.labels.tolist() == [1, 0]
    assert found.detections[0].possible.class_ties is not None
    assert found.detections[0].possible.class_ties.tolist() == [False, True]
    assert set(found.ref_errors) == set(DETECTION_OUTPUTS)


def test_allowed_follows_the_outputs_own_ref_error() -> None:
    reference = make_reference({"output": np.zeros((1, 2, 4, 4))})
    allowed = reference.allowed("output", ROW)
    assert allowed.max == max(ROW.floor_max * 1.0, ROW.k_max * 1e-6)
    assert allowed.rms == max(ROW.floor_rms * 0.5, ROW.k_rms * 1e-7)


@given(st.floats(0, 3))
def test_a_gap_within_twice_the_allowed_error_is_a_near_tie(factor: float) -> None:
    outputs = {"output": np.zeros((1, 2, 4, 4))}
    limit = 2 * make_reference(outputs).allowed("output", ROW).max
    gaps = np.array([[factor * limit, 1e9]])
    for reference in (
        make_reference(outputs, argmax_gap=gaps),
        make_reference(outputs, shift_gap=gaps),
    ):
        assert reference.near_ties(ROW).tolist() == [[factor * limit <= limit, False]]


def test_the_least_accurate_output_decides_what_a_near_tie_is() -> None:
    outputs = {"simcc_x": np.zeros((1, 1, 8)), "simcc_y": np.zeros((1, 1, 8))}
    ref_errors = {"simcc_x": RefError(0, 0, 1, 1), "simcc_y": RefError(0.1, 0.1, 1, 1)}
    reference = make_reference(
        outputs, ref_errors=ref_errors, argmax_gap=0.9 * 2 * ROW.k_max * 0.1
    )
    assert reference.near_ties(ROW).all()


@pytest.mark.parametrize("gap", [math.nan, math.inf])
def test_a_gap_that_is_no_number_excuses_nothing(gap: float) -> None:
    reference = make_reference({"output": np.zeros((1, 2, 4, 4))}, argmax_gap=gap)
    assert not reference.near_ties(ROW).any()


def test_a_reference_of_detections_is_bottom_up() -> None:
    assert make_reference(truths=[make_truth(make_people([0.9]))]).bottom_up
