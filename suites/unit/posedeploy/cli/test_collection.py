"""Conversions search for no cycles, and whoever calls them has his setting back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from posedeploy.cli.collection import without_collection


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_is_off_in_the_block_and_on_again_after_an_error() -> None:
    seen = []

    @without_collection()
    def fail() -> None:
        seen.append(gc.isenabled())
        raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        fail()
    assert seen == [False]
    assert gc.isenabled()


def test_what_was_off_stays_off() -> None:
    gc.disable()
    with without_collection():
        pass
    assert not gc.isenabled()
