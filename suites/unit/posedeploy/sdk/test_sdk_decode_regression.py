"""Coordinates are decoded as MMPose's codec decodes what its heads' `predict` gives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import Decoded, compile_decoder
from posedeploy.sdk.fields import Node

SIZE = (192, 256)


def decoded(output: Any, **params: Any) -> Decoded:
    node = Node(params, "pipeline.json", "$.tasks[2].params")
    decoder = compile_decoder("DeepposeRegressionHeadDecode", node, SIZE)
    return decoder.decode({"output": np.asarray(output, np.float32)})


@pytest.mark.usefixtures("_mmpose")
@pytest.mark.parametrize("columns", [2, 4])
def test_keypoints_and_scores_are_the_codecs(columns: int) -> None:
    from mmpose.codecs import RegressionLabel

    output = np.random.default_rng(columns).normal(0.5, 3, (5, 17, columns)).astype(np.float32)
    given = output.copy()
    given[..., 2:] = 1 / (1 + np.exp(-given[..., 2:]))  # RLEHead.predict
    points, scores = RegressionLabel(SIZE).decode(given)
    found = decoded(output, type="RegressionLabel", input_size=list(SIZE))
    np.testing.assert_allclose(found.points, points, rtol=1e-6)
    np.testing.assert_allclose(found.point_scores, scores, atol=1e-6)
    assert found.image.tolist() == [0, 1, 2, 3, 4]


def test_logits_without_bound_are_scores_of_0_and_1() -> None:
    found = decoded([[[0.5, 0.5, -1e4, -1e4], [0.25, 1.0, 1e4, 1e4]]])
    assert found.point_scores.tolist() == [[1.0, 0.0]]
    assert found.points.tolist() == [[[96, 128], [48, 256]]]


def test_what_is_no_number_is_no_keypoint() -> None:
    found = decoded([[[np.nan, 0.5, 0, 0], [0.5, 0.5, np.nan, 0], [0.5, 0.5, 0, 0]]])
    assert found.points[0, :2].tolist() == [[-1, -1], [-1, -1]]
    assert np.isnan(found.point_scores[0]).tolist() == [True, True, False]


@pytest.mark.parametrize("shape", [(1, 17, 3), (1, 17), (1, 17, 2, 1), (1, 0, 2)])
def test_outputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match=r"\[N, K, 2 or 4\]"):
        decoded(np.zeros(shape))


@pytest.mark.parametrize(
    ("params", "failure"),
    [({"type": "SimCCLabel"}, "RegressionLabel"), ({"input_size": [256, 192]}, "input_size")],
)
def test_parameters_of_another_model_are_refused(params: Any, failure: str) -> None:
    with pytest.raises(BadInputError, match=failure):
        decoded(np.zeros((1, 17, 2)), **params)
