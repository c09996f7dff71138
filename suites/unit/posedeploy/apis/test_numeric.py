"""Numbers against float64: the allowed error, and a detector's rows, matched with the people."""

from __future__ import annotations

import math

import numpy as np
import pytest

from posedeploy.apis.numeric import Arrays, Detection, OutputError, allowed_error
from posedeploy.heads import head_of_kind

WHOLE, KEYPOINTS = head_of_kind("simcc").stages
RULE = Detection("fp32", 0.3, (640, 480))


# ---- modify this table to add an allowed error ----------------------------------------------
@pytest.mark.parametrize(
    ("flow", "size", "own", "allowed"),
    [
        (("onnxruntime", "fp32"), 1.0, 1e-4, 5e-4),
        (("ncnn", "fp32"), 1.0, 1e-4, 8e-4),
        (("onnxruntime", "fp32"), 1000.0, 0.0, 2e-3),
        (("onnxruntime", "fp16"), 1.0, 1e-2, 3e-2),
        (("onnxruntime", "int8"), 1.0, 1e-2, math.inf),
    ],
)
def test_the_allowed_error_is_a_multiple_of_pytorchs_own_or_the_floor(
    flow: tuple[str, str], size: float, own: float, allowed: float
) -> None:
    assert allowed_error(WHOLE, "simcc_x", flow, size, own) == pytest.approx(allowed)


def test_keypoints_of_a_graph_that_decodes_are_left_to_who_knows_near_ties() -> None:
    assert allowed_error(KEYPOINTS, "keypoints", ("onnxruntime", "fp32"), 9.0, 0.0) == math.inf
    assert allowed_error(KEYPOINTS, "scores", ("onnxruntime", "fp32"), 1.0, 1e-6) < 1e-4


@pytest.mark.parametrize(("error", "wrong"), [(0.1, False), (0.2, True), (math.nan, True)])
def test_an_error_that_is_no_number_is_wrong(error: float, wrong: bool) -> None:
    assert OutputError("x", error, 0.1, 1.0).wrong == wrong


def rows(*people: tuple[float, float], padding: int = 0) -> Arrays:
    """People at (x, 50) with a score, each with a box of 40 px and 3 keypoints; zero rows."""
    dets = [[x - 20, 30, x + 20, 70, score] for x, score in people]
    points = [[[x, 50, 1.0], [x + 5, 60, 1.0], [x - 5, 40, 1.0]] for x, _ in people]
    dets += [[0.0] * 5] * padding
    points += [[[0.0] * 3] * 3] * padding
    return {"dets": np.array([dets]), "keypoints": np.array([points])}


TRUTH = rows((100, 0.9), (300, 0.6), padding=1)
# ---- modify this table to add rows -----------------------------------------------------------
# rows -> what is said of them; '' for nothing
ROWS = {
    "the same": (TRUTH, ""),
    "in another order": (rows((300, 0.6), (100, 0.9), padding=1), ""),
    "one is missing": (rows((100, 0.9), padding=2), "1 of PyTorch's people are missing, and 0"),
    "one is another": (rows((100, 0.9), (400, 0.6), padding=1), "1 of PyTorch's people are missi"),
    "one more at the threshold": (rows((100, 0.9), (300, 0.6), (500, 0.30005)), ""),
    "one more": (rows((100, 0.9), (300, 0.6), (500, 0.4)), "missing, and 1 are not PyTorch's"),
    "below the threshold": (rows((100, 0.9), (300, 0.6), (500, 0.2)), "1 rows have scores of up"),
    "as many rows as it has": (rows((100, 0.9)), ""),
    "out of the input": (rows((100, 0.9), (300, 0.6), (10, 0.0)), ""),  # padding is not looked at
}
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ROWS)
def test_what_is_wrong_with_the_rows_of_a_detector(case: str) -> None:
    found, words = ROWS[case]
    told = "; ".join(RULE.faults([found], [TRUTH]))
    assert words in told
    assert bool(words) == bool(told), told


def test_boxes_that_reach_out_of_the_input_are_counted() -> None:
    reaching = rows((100, 0.9), (300, 0.6), padding=1)
    reaching["dets"][0, 0, 2] = 660
    (told,) = RULE.faults([reaching], [TRUTH])
    assert told.startswith("1 boxes reach out of the input, by up to 20 px")


def test_people_are_aligned_by_their_keypoints() -> None:
    got, expected = RULE.align([rows((300, 0.61), (100, 0.9))], [TRUTH])
    assert expected["scores"].ravel().tolist() == [0.6, 0.9]
    assert (got["scores"] - expected["scores"]).ravel() == pytest.approx([0.01, 0])
    np.testing.assert_array_equal(got["keypoints"], expected["keypoints"])
