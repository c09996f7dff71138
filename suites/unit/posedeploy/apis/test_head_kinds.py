"""RTMW and VisPredict from model to client: the keypoints and visibilities of mmpose itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.images import drawn, photograph
from fixtures.tiny_models import TinyModel
from posedeploy.apis.utils import build_task_processor
from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.validate import validate

FIGURE = drawn(3, (200, 150))
CASES = ((FIGURE.image, FIGURE.bbox), (photograph("hopper"), (60.0, 20.0, 460.0, 600.0)))
DEPLOY_CONFIGS = {
    "rtmw_m": "pose-detection_simcc_onnxruntime_static",
    "vis_res50": "pose-detection_vis_onnxruntime_static",
}
Tiny = Callable[[str], TinyModel]
Sdk = Callable[[str], Path]


@pytest.fixture(scope="module", params=DEPLOY_CONFIGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def processor(name: str, tiny_model: Tiny) -> Any:
    return build_task_processor(tiny_model(name).config, DEPLOY_CONFIGS[name], "cpu")


def test_the_client_finds_what_mmpose_finds(
    name: str, processor: Any, tiny_model: Tiny, tiny_sdk: Sdk
) -> None:
    from mmpose.apis import inference_topdown

    model = processor.build_pytorch_model(tiny_model(name).checkpoint)
    for image, box in CASES:
        boxes = np.asarray([box], np.float32)
        (expected,) = inference_topdown(model, image, boxes)
        with PoseDetector(tiny_sdk(name)) as detector:
            poses = detector.detect(image, boxes)
        wanted = expected.pred_instances
        np.testing.assert_allclose(poses.keypoints[..., :2], wanted.keypoints, atol=0.01)
        np.testing.assert_allclose(poses.keypoints[..., 2], wanted.keypoint_scores, rtol=1e-4)
        assert np.ptp(wanted.keypoints[..., 0]) > 10
        if name == "vis_res50":
            assert poses.visible is not None
            np.testing.assert_allclose(poses.visible, wanted.keypoints_visible, atol=1e-5)
            assert np.ptp(poses.visible) > 0.1
        else:
            assert poses.visible is None


def test_the_backend_takes_the_networks_place_in_mmpose(
    name: str, processor: Any, tiny_model: Tiny, tiny_sdk: Sdk
) -> None:
    backend = processor.build_backend_model([tiny_sdk(name) / "end2end.onnx"])
    pytorch = processor.build_pytorch_model(tiny_model(name).checkpoint)
    (found,), (expected,) = (
        model.test_step(processor.create_input(FIGURE.image)[0]) for model in (backend, pytorch)
    )
    for field in ("keypoints", "keypoint_scores", "keypoints_visible"):
        ours, theirs = (getattr(one.pred_instances, field) for one in (found, expected))
        limit = 0.01 if field == "keypoints" else 1e-4
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=limit)


def test_the_folder_is_valid_for_mmdeploys_client_too(name: str, tiny_sdk: Sdk) -> None:
    assert validate(tiny_sdk(name)) == []
    assert validate(tiny_sdk(name), client="mmdeploy-runtime-1.3.1") == []


def test_visibilities_stay_with_their_people_and_selected_keypoints(tiny_sdk: Sdk) -> None:
    boxes = np.asarray([FIGURE.bbox, (0, 0, 60, 90)], np.float32)
    with PoseDetector(tiny_sdk("vis_res50")) as detector:
        both = detector.detect(FIGURE.image, boxes)
        first, second = (detector.detect(FIGURE.image, boxes[i : i + 1]) for i in range(2))
    assert both.visible is not None
    assert first.visible is not None
    assert second.visible is not None
    np.testing.assert_allclose(both.visible, [first.visible[0], second.visible[0]], atol=1e-6)
    last = both.select(np.asarray([False, True])).visible
    assert last is not None
    np.testing.assert_array_equal(last, both.visible[1:])


@pytest.mark.parametrize(
    ("pose_cfg", "message"),
    [("dict(type='RTMCCHead')", "a head of heatmaps in a VisPredictHead"),
     ("None", "the head that finds keypoints")],
)  # fmt: skip
def test_a_visibility_head_needs_a_head_of_heatmaps(
    pose_cfg: str, message: str, tiny_model: Tiny, tmp_path: Path
) -> None:
    config = tmp_path / "config.py"
    base = str(tiny_model("vis_res50").config)
    config.write_text(
        f"_base_ = {base!r}\nmodel = dict(head=dict(_delete_=True, type='VisPredictHead', "
        f"pose_cfg={pose_cfg}))\n"
    )
    with pytest.raises(BadInputError, match=message):
        load_model_config(config)
