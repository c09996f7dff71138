"""`DeepposeRegressionHeadDecode`: coordinates that a network outputs to keypoints.

Equals `RegressionLabel.decode` and `IntegralRegressionLabel.decode` of MMPose 1.3.2 on what the
heads' `predict` gives them: `RLEHead` takes the sigmoid of its sigmas first. MMDeploy's graphs
output them without it, as `RLEHead.forward` does, and so do this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posedeploy.errors import BadInputError
from posedeploy.heads import head_of_kind
from posedeploy.sdk.decode import MISMATCH, Decoded, Outputs, floats
from posedeploy.sdk.decode.refine import only_numbers
from posedeploy.sdk.fields import Node

COLUMNS = (2, 4)  # x, y; and two logits of sigmas


@dataclass(frozen=True)
class RegressionDecoder:
    """`output [N, K, 2]` (x, y as fractions of the input's size), or `[N, K, 4]`, to keypoints.

    The last two of four are the logits of x's and y's sigma, which give the score; it is 1
    without them.
    """

    input_size: tuple[int, int]  # width and height of the network's input, px
    outputs: tuple[str, ...] = ("output",)

    def decode(self, outputs: Outputs) -> Decoded:
        """One person a row."""
        values = floats(outputs, "output", ("N", "K", "2 or 4"))
        people, keypoints, columns = values.shape
        if columns not in COLUMNS:
            raise BadInputError(
                "graph output 'output'", f"shape {list(values.shape)}",
                "numbers of shape [N, K, 2 or 4]", MISMATCH,
            )  # fmt: skip
        points = values[..., :2] * np.asarray(self.input_size, np.float32)
        scores = np.ones((people, keypoints), np.float32)
        if columns > 2:
            with np.errstate(over="ignore"):  # exp of a large number: the sigmoid is 0 then
                sigmas = 1 / (1 + np.exp(-values[..., 2:]))
            scores = (1 - sigmas).mean(axis=-1)
        return Decoded(np.arange(people), *only_numbers(points, scores))


def regression_decoder(params: Node, input_size: tuple[int, int]) -> RegressionDecoder:
    """The decoder for the parameters of a `DeepposeRegressionHeadDecode`."""
    if params.has("type"):
        params.at("type").one_of(head_of_kind("regression").codecs)
    return RegressionDecoder(input_size)
