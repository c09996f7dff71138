"""Accuracy on unseen figures: COCO's average precision of people, and a model's own joints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fixtures.tiny_models import TinyModel
from posedeploy.config import load_model_config
from posedeploy.synthetic.accuracy.coco import average_precision
from posedeploy.synthetic.accuracy.detectors import Found
from posedeploy.synthetic.accuracy.evaluation import Evaluation, measures_of
from posedeploy.synthetic.samples import Samples, make_samples
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import config_path, model_row


@pytest.fixture(scope="module")
def samples() -> Samples:
    config = load_model_config(config_path(model_row("yoloxpose_tiny")))
    return make_samples(config, "evaluation", 4, people=2)


def found(samples: Samples, away: float = 0.0) -> list[Found]:
    """Every person, with joints that are so many px away to the right."""
    return [
        Found(boxes, np.full(len(boxes), 0.9), joints + np.array([away, 0]))
        for boxes, joints in zip(samples.boxes.numpy(), samples.joints.numpy(), strict=True)
    ]


def test_average_precision_of_right_wrong_missing_and_surplus_people(samples: Samples) -> None:
    right = found(samples)
    assert average_precision([right], [samples]) == pytest.approx(1.0)
    assert 0.2 < average_precision([found(samples, 8.0)], [samples]) < 0.9
    assert average_precision([found(samples, 200.0)], [samples]) == 0.0
    missed = [replace(right[0], boxes=right[0].boxes[:0], scores=right[0].scores[:0],
                      joints=right[0].joints[:0]), *right[1:]]  # fmt: skip
    assert average_precision([missed], [samples]) == pytest.approx(0.75, abs=0.02)
    nobody = [replace(one, boxes=one.boxes[:0], scores=one.scores[:0], joints=one.joints[:0])
              for one in right]  # fmt: skip
    assert average_precision([nobody], [samples]) == 0.0


@pytest.mark.parametrize(
    ("name", "measures"),
    [
        ("rtmpose_t", {"pck", "mean_px", "median_px"}),
        ("yoloxpose_tiny", {"pck", "mean_px", "median_px", "ap", "recall", "precision"}),
    ],
)
def test_an_untrained_model_finds_nothing(
    name: str, measures: set[str], tiny_model: Callable[[str], TinyModel]
) -> None:
    config = load_model_config(tiny_model(name).config)
    measured = Evaluation(config, 6)(build_model(config, tiny_model(name).checkpoint))
    accuracy = measures_of(measured)
    assert set(accuracy) == measures
    assert accuracy["pck"] < 0.3
    assert accuracy.get("ap", 0.0) < 0.1
