"""Outputs of detectors' graphs, and those that no component can read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import Decoder
from posedeploy.sdk.decode.boxes import BOX_COMPONENTS, compile_box_decoder, priors
from posedeploy.sdk.fields import Node

SIZE = (64, 32)
PRIORS = 8 * 4 + 4 * 2 + 2 * 1


def decoder(component: str, **params: Any) -> Decoder:
    return compile_box_decoder(component, Node(params, "pipeline.json", "$.params"), SIZE)


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("component", BOX_COMPONENTS)
def test_nobody_is_found_where_nothing_has_a_score(component: str) -> None:
    outputs = {"dets": zeros(2, 3, 5), "labels": zeros(2, 3), "output": zeros(2, PRIORS, 85)}
    found = decoder(component).decode(outputs)
    assert found.boxes is not None
    assert (found.boxes.shape, found.points.shape) == ((0, 4), (0, 0, 2))
    assert set(decoder(component).outputs) <= outputs.keys()


def test_graphs_of_detectors_may_output_no_rows() -> None:
    found = decoder("ResizeBBox").decode({"dets": zeros(1, 0, 5), "labels": zeros(1, 0)})
    assert found.boxes is not None
    assert len(found.boxes) == 0


@pytest.mark.parametrize(
    ("component", "outputs", "message"),
    [
        ("ResizeBBox", {"dets": zeros(1, 3, 4), "labels": zeros(1, 3)}, r"'dets'.*\[1, 3, 4\]"),
        ("ResizeBBox", {"dets": zeros(1, 3, 5), "labels": zeros(1, 4)}, r"'labels'.*\[1, 4\]"),
        ("YOLOXBoxes", {"output": zeros(1, PRIORS, 5)}, "at least 6 numbers"),
        ("YOLOXBoxes", {"output": zeros(1, PRIORS + 1, 85)}, rf"shape \[N, {PRIORS}, D\]"),
    ],
)
def test_outputs_of_another_shape_are_refused(
    component: str, outputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        decoder(component).decode(outputs)


def test_people_belong_to_their_image_and_their_prior() -> None:
    """One box an image, of priors of each stride; sizes that overflow stay finite."""
    cells, strides = priors(SIZE)
    rows = [9, 34, PRIORS - 1]  # of strides 8, 16, 32
    output = zeros(3, PRIORS, 7)
    output[..., :2] = 0.5
    for image, row in enumerate(rows):
        output[image, row, 2:] = [0, 1e4 if image == 2 else 0, 1, 0.25, 0.5]
    with np.errstate(over="raise"):
        found = decoder("YOLOXBoxes", score_thr=0.3).decode({"output": output})
    assert found.boxes is not None
    assert found.labels is not None
    assert found.image.tolist() == [0, 1, 2]
    assert found.labels.tolist() == [1, 1, 1]
    assert strides[rows, 0].tolist() == [8, 16, 32]
    middle = (cells[rows] + 0.5) * strides[rows]
    np.testing.assert_allclose((found.boxes[:, :2] + found.boxes[:, 2:])[:2] / 2, middle[:2])
    np.testing.assert_allclose((found.boxes[:, 2] - found.boxes[:, 0]), strides[rows, 0])
    assert np.isfinite(found.boxes).all()
