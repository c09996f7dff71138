"""The accuracy of joints that are off by known distances."""

from __future__ import annotations

import numpy as np
import pytest

from posedeploy.config import load_model_config
from posedeploy.synthetic.accuracy.top_down import compare
from posedeploy.synthetic.samples import make_samples
from posedeploy.zoo.table import config_path, model_row


def test_accuracy_of_known_mistakes() -> None:
    config = load_model_config(config_path(model_row("litehrnet_18")))
    samples = make_samples(config, "evaluation", 6)
    true = samples.joints[:, 0].double().numpy()
    perfect = compare(true, samples)
    assert (perfect.pck, perfect.pck_10, perfect.mean_px) == (1.0, 1.0, 0.0)
    assert perfect.oks == 1.0
    side = (samples.boxes[:, 0, 2:] - samples.boxes[:, 0, :2]).amax(dim=1).numpy()
    moved = true.copy()
    moved[:, :, 0] += 0.07 * side[:, None]
    near = compare(moved, samples)
    assert (near.pck, near.pck_10) == (0.0, 1.0)
    assert near.median_px == pytest.approx(np.median(0.07 * side), rel=1e-4)
    assert 0 < near.oks < 0.9
