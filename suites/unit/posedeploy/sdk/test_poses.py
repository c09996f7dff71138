"""Boxes that `PoseDetector` is given, before it copies anything of them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk.poses import MAX_BOXES, as_boxes


@pytest.mark.parametrize(
    "boxes",
    [
        np.broadcast_to(np.float32(1), (2**40, 4)),
        np.broadcast_to(np.float64(1), (2**40, 4)),
        np.broadcast_to(np.uint8(1), (4, 2**40)),
        np.broadcast_to(np.int64(1), (2**40,)),
        np.zeros((MAX_BOXES + 1, 4)),
        range(10**10),
        [range(4)] * (MAX_BOXES + 1),
    ],
    ids=["float32", "float64", "wide", "one row", "one too many", "a range", "a list"],
)
def test_more_boxes_than_one_call_takes_are_refused_before_they_are_copied(boxes: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadInputError, match=r"[\d,]+ boxes; expected .* at most 10,000 boxes"):
            as_boxes(boxes)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_as_many_as_that_are_taken() -> None:
    assert as_boxes(np.zeros((MAX_BOXES, 4), np.float32)).shape == (MAX_BOXES, 4)
