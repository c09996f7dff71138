"""mmpose's codecs decode, and the gaps tell which of their decisions a small error can change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseconform.reference.codecs import decode, decode_outputs, heatmap_gaps, simcc_gaps
from poseconform.subject.loading import load_subject


class MSRAHeatmap:
    """Stands for mmpose's codec of this name: only name and attributes are looked at."""

    unbiased = False
    kernel_size = 3
    blur_kernel_size = 3
    heatmap_type = "gaussian"


class UDPHeatmap(MSRAHeatmap):
    pass


class MegviiHeatmap(MSRAHeatmap):
    pass


def heatmap(
    best: float = 1.0, second: float = 0.4, left: float = 0.3, above: float = 0.2
) -> dict[str, np.ndarray]:
    maps = np.zeros((1, 1, 9, 8))
    maps[0, 0, 4, 3] = best
    maps[0, 0, 8, 7] = second
    maps[0, 0, 4, 2], maps[0, 0, 3, 3] = left, above
    return {"output": maps}


def test_the_gap_of_the_maximum_is_to_the_second_best_value_anywhere() -> None:
    argmax, shift = heatmap_gaps(MSRAHeatmap(), heatmap())
    assert argmax.tolist() == [[pytest.approx(0.6)]]
    assert shift.tolist() == [[pytest.approx(0.2)]]


def test_a_codec_without_a_quarter_step_has_no_gap_of_shifts() -> None:
    assert np.isinf(heatmap_gaps(UDPHeatmap(), heatmap())[1]).all()
    dark = MSRAHeatmap()
    dark.unbiased = True
    assert np.isinf(heatmap_gaps(dark, heatmap())[1]).all()


def test_a_peak_at_the_border_has_a_gap_too() -> None:
    maps = np.zeros((1, 1, 5, 5))
    maps[0, 0, 0, 4] = 1.0
    argmax, shift = heatmap_gaps(MSRAHeatmap(), {"output": maps})
    assert argmax.tolist() == [[1.0]]
    assert np.isfinite(shift).all()


def test_megvii_decides_on_the_blurred_map() -> None:
    maps = heatmap(best=1.0, second=1.0)
    assert heatmap_gaps(MSRAHeatmap(), maps)[0].item() == 0.0
    before = maps["output"].copy()
    assert heatmap_gaps(MegviiHeatmap(), maps)[0].item() > 0.0
    np.testing.assert_array_equal(maps["output"], before)


def test_combined_maps_of_udp_are_decided_by_their_class_maps() -> None:
    codec = UDPHeatmap()
    codec.heatmap_type, codec.blur_kernel_size = "combined", 3
    classes = np.random.default_rng(0).normal(size=(2, 5, 9, 8))
    offsets = np.zeros_like(classes)
    maps = np.stack([classes, offsets, offsets], axis=2).reshape(2, 15, 9, 8)
    gap, shift = heatmap_gaps(codec, {"output": maps})
    assert gap.shape == shift.shape == (2, 5)
    assert (gap < heatmap_gaps(UDPHeatmap(), {"output": classes})[0]).mean() > 0.5, "blurred"


def test_a_best_value_near_zero_is_a_near_tie() -> None:
    maps = np.full((1, 1, 9, 8), -1.0)
    maps[0, 0, 4, 4] = 1e-6
    assert heatmap_gaps(MSRAHeatmap(), {"output": maps})[0].item() == 2e-6


@given(st.floats(0, 1), st.floats(0, 1))
def test_simcc_is_as_sure_as_its_less_sure_axis(gap_x: float, gap_y: float) -> None:
    x, y = np.zeros((1, 1, 8)), np.zeros((1, 1, 6))
    x[0, 0, 2], y[0, 0, 3] = gap_x, gap_y
    argmax, shift = simcc_gaps(object(), {"simcc_x": x, "simcc_y": y})
    assert argmax.item() == min(gap_x, gap_y)
    assert np.isinf(shift).all()


@given(st.permutations(range(3)))
def test_gaps_belong_to_their_images(order: list[int]) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 2, 8))
    outputs = {"simcc_x": vectors, "simcc_y": 2 * vectors}
    there = simcc_gaps(object(), outputs)[0][order]
    here = simcc_gaps(object(), {name: array[order] for name, array in outputs.items()})[0]
    np.testing.assert_array_equal(here, there)


class Codec:
    """Spoils what it is given, as codecs that blur in place do."""

    def decode(self, *parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = parts[0].max(axis=-1)
        for part in parts:
            part[:] = -1
        return np.stack([first, first + len(parts)], axis=-1)[None], first[None]


def test_every_image_is_decoded_by_itself_from_a_copy() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    outputs = {"simcc_x": x, "simcc_y": x.copy()}
    points, scores = decode_outputs(Codec(), outputs)
    assert points.shape == (2, 3, 2)
    np.testing.assert_array_equal(scores, x.max(axis=-1))
    np.testing.assert_array_equal(points[..., 1], x.max(axis=-1) + 2)
    np.testing.assert_array_equal(x, np.arange(24.0).reshape(2, 3, 4))


def test_a_models_own_codec_decodes_its_outputs() -> None:
    (model,) = load_subject().models(["rtmpose_t"])
    height, width = model.shape
    x, y = np.zeros((1, 17, 2 * width)), np.zeros((1, 17, 2 * height))
    x[0, :, 100], y[0, :, 60] = 1.0, 1.0
    found = decode(model.config, {"simcc_x": x, "simcc_y": y})
    np.testing.assert_allclose(found[0], np.tile([50.0, 30.0], (17, 1)))
