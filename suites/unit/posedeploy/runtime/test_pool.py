"""No two calls have one at the same time, and one whose call failed is not used again."""

from __future__ import annotations

import itertools

import pytest

from posedeploy.runtime.pool import Pool


def test_calls_at_the_same_time_have_one_each() -> None:
    pool = Pool(0, itertools.count(1).__next__)
    with pool.one() as first, pool.one() as second:
        assert (first, second) == (0, 1)
    with pool.one() as again:
        assert again in {0, 1}


def test_one_whose_call_failed_is_dropped() -> None:
    pool = Pool(0, itertools.count(1).__next__)
    with pytest.raises(RuntimeError), pool.one():
        raise RuntimeError("the call")
    with pool.one() as other:
        assert other == 1
