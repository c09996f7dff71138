"""The images models are judged on: sets differ, and each is the same wherever it is made."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.images import PHOTOGRAPHS, make_samples, other_samples, photograph
from poseconform.judge.judge import samples_sha256


@pytest.mark.parametrize("number", range(1, 6))
def test_a_set_has_six_different_images_with_boxes_on_them(number: int) -> None:
    samples = other_samples(number)
    assert len({sample.image.tobytes() for sample in samples}) == len(samples) == 6
    for sample in samples:
        assert sample.image.dtype == np.uint8
        height, width, channels = sample.image.shape
        assert channels == 3
        left, top, right, bottom = sample.bbox
        assert max(left, 0) < min(right, width), sample.name
        assert max(top, 0) < min(bottom, height), sample.name
        assert np.ptp(sample.image) > 50, sample.name


def test_sets_share_no_image_and_are_made_again_bit_by_bit() -> None:
    sets = [make_samples(), *(other_samples(n) for n in range(1, 6))]
    images = [sample.image.tobytes() for samples in sets for sample in samples]
    assert len(set(images)) == len(images)
    assert samples_sha256(other_samples(2)) == samples_sha256(other_samples(2))


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_come_with_dependencies(name: str) -> None:
    assert photograph(name).shape[2] == 3


def test_a_photograph_that_is_gone_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-image"):
        photograph("no-such-image")
