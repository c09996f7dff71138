"""How far an error moves a refined keypoint: the bound holds, is narrow, and knows flat maxima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from poseconform.reference.codecs import decode_outputs, heatmap_gaps
from poseconform.reference.refinement import heatmap_refinement
from posedeploy import compat

Outputs = dict[str, NDArray[np.float64]]
SIZE = {"input_size": (96, 128), "heatmap_size": (24, 32)}
CODECS: dict[str, dict[str, Any]] = {
    "dark": {"type": "MSRAHeatmap", **SIZE, "sigma": 2.0, "unbiased": True},
    "dark-wide": {
        "type": "MSRAHeatmap", **SIZE, "sigma": 3.0, "unbiased": True, "blur_kernel_size": 17
    },
    "udp": {"type": "UDPHeatmap", **SIZE, "sigma": 2.0},
}  # fmt: skip
SAMPLES, KEYPOINTS = 6, 20


def make_codec(name: str) -> Any:
    return build(CODECS[name])


def build(fields: dict[str, Any]) -> Any:
    compat.install()
    import mmpose.codecs  # noqa: F401  fills the registry
    from mmpose.registry import KEYPOINT_CODECS

    return KEYPOINT_CODECS.build(dict(fields))


def bump(center: NDArray[np.float64], length: int, sigma: float) -> NDArray[np.float64]:
    return np.exp(-np.square(np.arange(length) - center[..., None]) / (2 * sigma**2))


def make_outputs(texture: float, seed: int = 0) -> Outputs:
    """Bumps anywhere, of any height, on a random texture, as calibrated networks output them."""
    rng = np.random.default_rng(seed)
    sizes = SAMPLES, KEYPOINTS
    x, y = (bump(rng.uniform(0, side, sizes), side, sigma=2.0) for side in (24, 32))
    maps = rng.uniform(0.5, 2, (*sizes, 1, 1)) * y[..., None] * x[..., None, :]
    return {"output": maps + texture * rng.normal(size=maps.shape)}


def with_error(outputs: Outputs, size: float, seed: int) -> Outputs:
    """Rounding: independent, and `size` at most; of a million values the largest has 5 sigma."""
    rng = np.random.default_rng(seed)
    return {k: v + rng.normal(0, size / 5, v.shape).clip(-size, size) for k, v in outputs.items()}


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2])
def test_no_error_of_a_size_moves_a_keypoint_beyond_its_reach(name: str, size: float) -> None:
    codec, ratios = make_codec(name), []
    for texture in (0.01, 0.3):
        outputs = make_outputs(texture)
        refinement, (gaps, _) = heatmap_refinement(codec, outputs), heatmap_gaps(codec, outputs)
        expected, _ = decode_outputs(codec, outputs)
        reach = refinement.reach(size)
        for seed in range(3):
            decoded, _ = decode_outputs(codec, with_error(outputs, size, seed))
            moved = np.linalg.norm(decoded - expected, axis=-1)
            sure = (gaps > 2 * size) & (reach > 0)
            assert (moved <= reach + 1e-5)[sure].all()  # decoded keypoints are float32
            known = sure & (reach > 1e-4) & np.isfinite(reach)
            ratios.append(moved[known] / reach[known])
    assert np.median(np.concatenate(ratios)) > 0.02, "a bound that is much too wide excuses all"


@pytest.mark.parametrize("name", CODECS)
def test_the_reach_of_a_clear_peak_excuses_nothing(name: str) -> None:
    refinement = heatmap_refinement(make_codec(name), make_outputs(texture=0.0))
    assert (refinement.reach(1e-5) < 0.1).mean() > 0.9
    assert np.median(refinement.reach(1e-5)) < 0.01


@pytest.mark.parametrize("name", CODECS)
def test_a_flat_maximum_has_no_bound(name: str) -> None:
    """A slope along which the logarithm is linear: no curvature, the step goes anywhere."""
    outputs = make_outputs(texture=0.0)
    slope = np.exp(0.01 * np.arange(24)).clip(max=np.exp(0.12))
    outputs["output"][0, 0] = slope
    outputs["output"][0, 0, 16, 12] += 1e-3
    refinement = heatmap_refinement(make_codec(name), outputs)
    assert np.isinf(refinement.reach(1e-2)[0, 0])
    assert np.isfinite(refinement.reach(1e-5)[0, 1:]).mean() > 0.8


def test_another_codecs_decoding_is_farther_off_than_any_reach() -> None:
    """A quarter-cell step in place of DARK's, which is less than a pixel off at a clear peak."""
    outputs = make_outputs(texture=0.01)
    dark = make_codec("dark")
    plain = type(dark)(**SIZE, sigma=2.0)
    wrong, _ = decode_outputs(plain, outputs)
    moved = np.linalg.norm(wrong - decode_outputs(dark, outputs)[0], axis=-1)
    reach = heatmap_refinement(dark, outputs).reach(1e-5)
    assert np.median(moved) < 1.0
    assert (moved > 0.1 + reach).mean() > 0.8


@pytest.mark.parametrize(
    ("fields", "keypoints", "flip_px"),
    [
        ({"type": "MSRAHeatmap", "sigma": 2.0}, 9, np.hypot(2, 2)),
        ({"type": "MegviiHeatmap", "kernel_size": 11}, 9, np.hypot(2, 2)),
        ({"type": "UDPHeatmap", "heatmap_type": "combined"}, 3, 0.0),
    ],
)
def test_what_has_no_newton_step_moves_by_its_quarter_step_only(
    fields: dict[str, Any], keypoints: int, flip_px: float
) -> None:
    codec = build({**SIZE, **fields})
    maps = np.random.default_rng(0).normal(size=(2, 9, 32, 24))
    refinement = heatmap_refinement(codec, {"output": maps})
    assert refinement.flip_px == pytest.approx(flip_px)
    np.testing.assert_array_equal(refinement.reach(0.1), np.zeros((2, keypoints)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_excuse_nothing(value: float) -> None:
    outputs = make_outputs(texture=0.01)
    outputs["output"][0, 0] = value
    refinement = heatmap_refinement(make_codec("dark"), outputs)
    assert refinement.reach(1e-3)[0, 0] == 0.0


@pytest.mark.parametrize("name", CODECS)
def test_a_map_without_a_peak_has_no_place_where_mmpose_reads_another_map(name: str) -> None:
    """`refine_keypoints_dark_udp` steps from cell (-1, -1), by cells of the map before."""
    codec, outputs = make_codec(name), make_outputs(0.0)
    outputs["output"][:, 5] -= 3
    lifted = {"output": outputs["output"].copy()}
    lifted["output"][:, 4, -4:, -4:] += 1  # below its highest value at most of the samples
    before, after = (decode_outputs(codec, maps)[0][:, 5] for maps in (outputs, lifted))
    moves = np.abs(after - before).max() > 0.1
    assert moves == (name == "udp")
    reach = heatmap_refinement(codec, outputs).reach(1e-6)[:, 5]
    assert np.isinf(reach).all() == moves
    assert np.isfinite(heatmap_refinement(codec, outputs).reach(1e-6)[:, 4]).all()
