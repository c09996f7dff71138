"""Overlap of boxes, agreement of poses, boxes around keypoints, suppression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posedeploy.sdk.tracking.geometry import clipped, iou, keypoint_boxes, oks, suppress

SIGMAS = np.array([0.1, 0.05])
BOXES = arrays(np.float64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.floats(-100, 100))


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_from_0_to_1(first: np.ndarray, second: np.ndarray) -> None:
    alike = iou(first, second)
    assert alike.shape == (len(first), len(second))
    assert ((alike >= 0) & (alike <= 1 + 1e-9)).all()
    np.testing.assert_allclose(alike, iou(second, first).T)


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], float)
    assert iou(boxes[:1], boxes) == pytest.approx(np.array([[1, 1 / 3, 0, 0]]))


def test_oks_is_cocos() -> None:
    pose = np.array([[[10, 10, 0.9], [20, 30, 0.9]]])
    moved = pose + np.array([3, 4, 0])  # 5 px
    expected = np.exp(-25 / (2 * 400 * (2 * SIGMAS) ** 2)).mean()
    assert oks(pose, moved, np.array([[400.0]]), SIGMAS, 0.5) == pytest.approx(expected)


def test_keypoints_below_the_threshold_take_no_part_in_oks() -> None:
    pose = np.array([[[10, 10, 0.9], [20, 30, 0.9]]])
    other = np.array([[[10, 10, 0.9], [900, 900, 0.1]], [[10, 10, 0.1], [20, 30, 0.1]]])
    assert oks(pose, other, np.full((1, 2), 400.0), SIGMAS, 0.5).tolist() == [[1, 0]]


def test_a_box_spans_the_keypoints_that_count() -> None:
    pose = np.array([[[10, 10, 0.9], [20, 30, 0.5], [500, 500, 0.4]], [[7, 8, 0.1]] * 3])
    boxes, number = keypoint_boxes(pose, 1.5, 0.5)
    assert boxes[0].tolist() == [7.5, 5, 22.5, 35]
    assert boxes[1].tolist() == [7, 8, 7, 8]
    assert number.tolist() == [2, 0]
    assert clipped(boxes, (20, 30))[0].tolist() == [7.5, 5, 20, 30]


def test_no_people_have_no_boxes() -> None:
    boxes, number = keypoint_boxes(np.zeros((0, 17, 3)), 1.25, 0.5)
    assert (boxes.shape, number.shape) == ((0, 4), (0,))


def test_suppression_goes_by_the_order_given() -> None:
    alike = np.array([[1, 0.6, 0], [0.6, 1, 0.6], [0, 0.6, 1]])
    assert suppress(np.array([0, 1, 2]), alike, 0.5).tolist() == [True, False, True]
    assert suppress(np.array([1, 0, 2]), alike, 0.5).tolist() == [False, True, False]
    assert suppress(np.array([2]), alike, 0.5).tolist() == [False, False, True]
