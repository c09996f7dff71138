"""Detections that are matched with figures."""

from __future__ import annotations

import numpy as np
import pytest

from posedeploy.config import load_model_config
from posedeploy.synthetic.accuracy.detectors import Found, ious, matched, summarize
from posedeploy.synthetic.samples import Samples, make_samples
from posedeploy.zoo.table import config_path, model_row


@pytest.fixture(scope="module")
def samples() -> Samples:
    config = load_model_config(config_path(model_row("yoloxpose_tiny")))
    return make_samples(config, "evaluation", 4, people=2)


def found_as_drawn(samples: Samples, shift: float = 0.0) -> list[Found]:
    pairs = zip(samples.boxes.double().numpy(), samples.joints.double().numpy(), strict=True)
    return [Found(boxes, np.array([0.9, 0.8]), joints + shift) for boxes, joints in pairs]


def test_detections_are_matched_once_and_misses_count(samples: Samples) -> None:
    perfect = summarize(matched(found_as_drawn(samples), samples), samples)
    assert (perfect.recall, perfect.precision, perfect.pck, perfect.oks) == (1, 1, 1, 1)
    shifted = summarize(matched(found_as_drawn(samples, shift=3.0), samples), samples)
    assert shifted.mean_px == pytest.approx(3 * 2**0.5, rel=1e-3)
    double = [
        Found(*(np.concatenate([part, part]) for part in (one.boxes, one.scores, one.joints)))
        for one in found_as_drawn(samples)
    ]
    assert summarize(matched(double, samples), samples).precision == 0.5
    half = [Found(one.boxes[:1], one.scores[:1], one.joints[:1]) for one in double]
    missed = summarize(matched(half, samples), samples)
    assert (missed.recall, missed.precision, missed.pck, missed.oks) == (0.5, 1, 0.5, 0.5)
    assert missed.mean_px == pytest.approx(0, abs=1e-3)
    nothing = [Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 2))) for _ in half]
    empty = summarize(matched(nothing, samples), samples)
    assert (empty.recall, empty.precision, empty.pck) == (0, 0, 0)


def test_iou_of_half_a_box() -> None:
    box, boxes = np.array([0.0, 0, 10, 10]), np.array([[0.0, 0, 10, 5], [20, 20, 30, 30]])
    assert ious(box, boxes).tolist() == [0.5, 0.0]
