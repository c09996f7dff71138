"""PyTorch's own rounding, and how far it can move keypoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.apis.reference import Reference, as_mmpose_reads
from posedeploy.config import load_model_config
from posedeploy.zoo.build import build_model

IMAGE = drawn(3, (120, 90)).image
RATIO = 2.0  # bins a px of the tiny model


@pytest.fixture
def model(tiny_model: Callable[[str], TinyModel]) -> tuple[Any, Any]:
    tiny = tiny_model("rtmpose_t")
    config = load_model_config(tiny.config)
    return build_model(config, tiny.checkpoint), config


def test_the_model_itself_is_not_rounded(model: tuple[Any, Any]) -> None:
    before = {name: value.clone() for name, value in model[0].state_dict().items()}
    expected = Reference(*model, ("onnxruntime", "fp32")).keypoints(IMAGE)
    for precision in ("bf16", "fp16", "int8"):
        reference = Reference(*model, ("onnxruntime", precision))
        rounded = reference.rounded_keypoints(IMAGE)
        assert rounded is not None
        assert not np.array_equal(rounded[..., 2], expected[..., 2])  # the scores
        np.testing.assert_array_equal(reference.keypoints(IMAGE), expected)
    for name, value in model[0].state_dict().items():
        assert torch.equal(value, before[name]), name
    assert Reference(*model, ("onnxruntime", "fp32")).rounded_keypoints(IMAGE) is None


class Tied:
    """A head's outputs replaced: each row has a peak, and another one that is lower by `gap`."""

    def __init__(self, gap: float) -> None:
        self.gap = gap

    def __call__(self, _module: Any, _inputs: Any, outputs: tuple[Any, Any]) -> tuple[Any, Any]:
        made = []
        for output in outputs:
            row = torch.zeros_like(output)
            row[..., 20], row[..., 60] = 1.0, 1.0 - self.gap
            made.append(row)
        return made[0], made[1]


@pytest.mark.parametrize(
    ("precision", "gap", "tied"),
    [("fp16", 1e-3, True), ("fp16", 2e-2, False), ("fp32", 1e-6, True), ("fp32", 1e-3, False)],
)
def test_honest_rounding_reaches_what_is_nearly_as_high(
    model: tuple[Any, Any], precision: str, gap: float, tied: bool
) -> None:
    model[0].head.register_forward_hook(Tied(gap))
    reach = Reference(*model, ("onnxruntime", precision)).reach(IMAGE)
    far = np.hypot(40, 40) / RATIO
    assert reach == pytest.approx(np.full(17, far if tied else 0.0))


def test_models_without_peaks_have_no_near_ties(tiny_model: Callable[[str], TinyModel]) -> None:
    tiny = tiny_model("reg_res50")
    config = load_model_config(tiny.config)
    reference = Reference(build_model(config, tiny.checkpoint), config, ("onnxruntime", "fp16"))
    assert not reference.reach(IMAGE).any()


def test_an_image_is_read_as_the_config_says(model: tuple[Any, Any], tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "figure.png"), IMAGE)
    np.testing.assert_array_equal(as_mmpose_reads(model[1], tmp_path / "figure.png"), IMAGE)
