"""Images of keypoints over each other: small, told apart by shape and color, never an error."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from fixtures.images import photograph
from poseconform.checks.overlay import (
    BLUE,
    LONGEST_SIDE,
    MOST_BYTES,
    ORANGE,
    encode,
    overlay,
    region,
)

GRAY = np.full((400, 300, 3), 128, np.uint8)
PEOPLE = np.array([[[60.0, 80.0], [200.0, 100.0], [120.0, 310.0]]])


def decoded(data: str) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(data), np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_COLOR))


def near(canvas: np.ndarray, color: tuple[int, int, int], within: float = 90.0) -> np.ndarray:
    """`[N, 2]` x, y of the pixels of about that color."""
    distance = np.linalg.norm(canvas.astype(float) - color, axis=2)
    return np.argwhere(distance < within)[:, ::-1]


@pytest.mark.parametrize("name", ["hopper", "astronaut"])
def test_a_photograph_is_small_and_keeps_its_proportions(name: str) -> None:
    image = photograph(name)
    height, width = image.shape[:2]
    corners = np.array([[[0.0, 0.0], [width - 1.0, height - 1.0]]])
    record = overlay(image, corners, corners, name)
    assert (record.name, record.mime) == (name, "image/webp")
    assert len(record.data) <= MOST_BYTES
    seen = decoded(record.data)
    assert max(seen.shape[:2]) == LONGEST_SIDE
    assert seen.shape[1] / seen.shape[0] == pytest.approx(width / height, abs=0.01)


def test_each_set_is_where_it_belongs() -> None:
    """Far apart, so that neither hides the other; WebP blurs colors by a pixel or two."""
    left, right = np.array([[[50.0, 200.0]]]), np.array([[[250.0, 200.0]]])
    seen = decoded(overlay(GRAY, left, right, "x").data)
    first, _, last, _ = region(GRAY.shape, np.vstack([left[0], right[0]]))
    scale = seen.shape[1] / (last - first)
    rings, crosses = near(seen, ORANGE), near(seen, BLUE)
    assert len(rings) > 5
    assert len(crosses) > 5
    assert np.ptp(rings[:, 0]) <= 14
    assert np.ptp(crosses[:, 0]) <= 14
    distance = crosses[:, 0].mean() - rings[:, 0].mean()
    assert distance == pytest.approx(200 * scale, rel=0.05)


def test_the_caption_says_which_is_which_and_what_is_not_seen() -> None:
    record = overlay(GRAY, PEOPLE, PEOPLE, "x")
    assert "rings: PyTorch" in record.caption
    assert "crosses: deployed" in record.caption
    assert "outside" not in record.caption
    gone = PEOPLE.copy()
    gone[0, 1] = np.nan
    gone[0, 2] = 9e9
    caption = overlay(GRAY, PEOPLE, gone, "x").caption
    assert caption.endswith("2 of 3 deployed ones are outside the image")


@pytest.mark.parametrize(
    ("reference", "deployed"),
    [
        (np.zeros((0, 17, 2)), np.zeros((0, 17, 2))),
        (PEOPLE, np.full((1, 3, 2), np.nan)),
        (np.full((2, 3, 2), np.inf), PEOPLE[:, :1]),
        (PEOPLE[:, :1], PEOPLE[:, :1]),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (3, 900), (400, 300)])
def test_no_input_is_too_odd(
    reference: np.ndarray, deployed: np.ndarray, size: tuple[int, int]
) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    before = image.copy()
    record = overlay(image, reference, deployed, "x")
    assert decoded(record.data).size > 0
    np.testing.assert_array_equal(image, before)


def test_the_part_holds_the_people_and_stays_in_the_image() -> None:
    left, top, right, bottom = region((400, 300), PEOPLE[0])
    assert 0 <= left < 60
    assert 200 < right <= 300
    assert 0 <= top < 80
    assert 310 < bottom <= 400
    assert region((400, 300), np.array([[-50.0, 10.0]])) == (0, 0, 300, 400)


def test_noise_fits_too() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    assert len(encode(noise)) <= MOST_BYTES
    with pytest.raises(ValueError, match="no WebP"):
        encode(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8))
