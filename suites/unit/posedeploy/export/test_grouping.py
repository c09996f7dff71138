"""Models whose keypoints the host groups, from the config to people in an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fixtures.grouping_configs import GROUPING_KINDS, SIDE, write_grouping_config
from posedeploy.apis.deploying import Deployment, deploy
from posedeploy.apis.reference import keypoints_of
from posedeploy.apis.verdict import Outcome
from posedeploy.compat import install
from posedeploy.config import load_model_config
from posedeploy.export.dekr import AdaptiveBlock
from posedeploy.sdk import PoseDetector
from posedeploy.synthetic.calibration import calibrate
from posedeploy.synthetic.drawn import drawn_figures
from posedeploy.zoo.build import build_model, check_forward

pytestmark = [
    pytest.mark.usefixtures("_mmpose"),
    pytest.mark.filterwarnings("ignore:Default grid_sample:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning"),
]


@pytest.fixture(scope="module")
def _mmpose() -> None:
    install()


@pytest.mark.parametrize("word", GROUPING_KINDS)
def test_the_client_finds_the_people_of_mmposes_own_pipeline(word: str, tmp_path: Path) -> None:
    """On a square image, which the config's `resize_mode='expand'` does not enlarge."""
    from mmengine.config import Config
    from mmpose.apis import inference_bottomup

    path = write_grouping_config(word, tmp_path / "model.py")
    config = load_model_config(path)
    model: Any = build_model(config, None)
    calibrate(model, config, seed=0)
    check_forward(model, config)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "model.pth")
    (scene,) = drawn_figures("evaluation", 1, 3, (SIDE, SIDE))
    image: Any = cv2.resize(scene.image, (250, 250))
    done: Deployment = deploy(
        f"pose-detection_{word}_onnxruntime_static", path, tmp_path / "model.pth",
        tmp_path / "sdk", images=[image, np.ascontiguousarray(image[40:])],
    )  # fmt: skip
    assert done.outcome is Outcome.SAME
    # whatever the backend: the weights of the host are beside its files
    assert (done.folder / "end2end.npz").is_file() == (word != "associative-embedding")
    assert all(one.distances.people > 0 for one in done.compared)

    model.cfg = Config.fromfile(path)  # as it is, not as it was read
    assert model.cfg.test_dataloader.dataset.pipeline[1]["resize_mode"] == "expand"
    expected = keypoints_of(inference_bottomup(model, image)[0].pred_instances)
    with PoseDetector(tmp_path / "sdk") as detector:
        poses = detector.detect(image)
    assert poses.keypoints[..., :2] == pytest.approx(expected[..., :2], abs=0.01)
    assert poses.keypoints[..., 2] == pytest.approx(expected[..., 2], abs=1e-4)
    corners = [poses.keypoints[..., :2].min(axis=1), poses.keypoints[..., :2].max(axis=1)]
    assert poses.boxes == pytest.approx(np.concatenate(corners, axis=1), abs=1e-3)


def test_an_image_is_fitted_in_place_of_expanded(tmp_path: Path) -> None:
    config = load_model_config(write_grouping_config("dekr", tmp_path / "model.py"))
    for pipeline in (config.test_pipeline, config.config.test_dataloader.dataset.pipeline):
        assert pipeline[1]["resize_mode"] == "fit"


def test_adaptive_convolutions_are_samples_of_a_grid() -> None:
    from mmpose.models.heads.hybrid_heads.dekr_head import AdaptiveActivationBlock

    torch.manual_seed(0)
    block = AdaptiveActivationBlock(12, 12, groups=3).eval()
    maps = torch.randn(2, 12, 7, 9)
    with torch.no_grad():
        assert torch.allclose(AdaptiveBlock(block, (7, 9)).eval()(maps), block(maps), atol=1e-4)
