"""Regression heads from model to client: mmpose's keypoints and scores, in all ways of use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.images import drawn, photograph
from fixtures.mmdeploy_folders import mmdeploy_folder
from fixtures.tiny_models import TinyModel
from posedeploy.apis.exporting import check_fit
from posedeploy.apis.utils import build_task_processor
from posedeploy.config import load_deploy_config, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.validate import validate
from posedeploy.zoo.build import build_model

HEADS = ("dsnt_res50", "dsnt_res50/debias", "reg_res50", "rle_res50")
DYNAMIC = "pose-detection_regression_onnxruntime_dynamic"
FIGURE, HOPPER = drawn(3, (200, 150)), photograph("hopper")
CASES = ((FIGURE.image, FIGURE.bbox), (HOPPER, (60.0, 20.0, 460.0, 600.0)))
Tiny = Callable[[str], TinyModel]
Sdk = Callable[[str], Path]


def of_mmpose(tiny: TinyModel, image: NDArray[np.uint8], box: tuple[float, ...]) -> np.ndarray:
    """`[1, K, 3]`: keypoints in image px and scores, by mmpose's own inference."""
    from mmpose.apis import inference_topdown

    processor = build_task_processor(tiny.config, DYNAMIC, "cpu")
    model = processor.build_pytorch_model(tiny.checkpoint)
    (found,) = inference_topdown(model, image, np.asarray([box], np.float32))
    instances = found.pred_instances
    return np.concatenate([instances.keypoints, instances.keypoint_scores[..., None]], axis=-1)


@pytest.mark.parametrize("name", HEADS)
def test_the_client_finds_what_mmpose_finds(
    name: str, tiny_model: Tiny, tiny_sdk: Sdk, tmp_path: Path
) -> None:
    theirs = mmdeploy_folder(tiny_sdk(name), tmp_path / "mmdeploy")
    for image, box in CASES:
        expected = of_mmpose(tiny_model(name), image, box)
        for folder in (tiny_sdk(name), theirs):
            with PoseDetector(folder) as detector:
                found = detector(image, np.asarray(box, np.float32))
            np.testing.assert_allclose(found[..., :2], expected[..., :2], atol=0.01)
            np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=1e-5)
        assert np.ptp(expected[..., 0]) > 10
        assert (np.ptp(expected[..., 2]) > 0.01) == (name == "rle_res50")


@pytest.mark.parametrize("name", ["dsnt_res50", "rle_res50"])
def test_the_backend_takes_the_networks_place_in_mmpose(
    name: str, tiny_model: Tiny, tiny_sdk: Sdk
) -> None:
    processor = build_task_processor(tiny_model(name).config, DYNAMIC, "cpu")
    backend = processor.build_backend_model([tiny_sdk(name) / "end2end.onnx"])
    pytorch = processor.build_pytorch_model(tiny_model(name).checkpoint)
    (found,), (expected,) = (
        model.test_step(processor.create_input(FIGURE.image)[0]) for model in (backend, pytorch)
    )
    for field in ("keypoints", "keypoint_scores"):
        ours, theirs = (getattr(one.pred_instances, field) for one in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_folders_are_valid_and_the_old_client_misreads_sigmas(tiny_sdk: Sdk) -> None:
    old = "mmdeploy-runtime-1.3.1"
    for name in HEADS:
        assert validate(tiny_sdk(name)) == []
    assert validate(tiny_sdk("reg_res50"), client=old) == []
    (finding,) = validate(tiny_sdk("rle_res50"), client=old)
    assert "takes sigmas for the next keypoint" in str(finding)
    assert "-keypoints" in str(finding)


@pytest.mark.parametrize(
    "name", ["pose-detection_onnxruntime_dynamic", DYNAMIC, "pose-detection_openvino_static"]
)
def test_mmdeploys_names_without_a_word_are_for_regression_too(
    name: str, tiny_model: Tiny
) -> None:
    check_fit(load_deploy_config(name), load_model_config(tiny_model("rle_res50").config))


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("model['head'].update(num_joints=3)", "num_joints"),
        ("model['test_cfg'] = dict(output_keypoint_indices=[0, 17])", "indices below 17"),
        ("model['head']['decoder']['sigmas'] = 1", "RegressionLabel|input_size"),
    ],
)
def test_fields_of_a_config_that_do_not_fit_are_refused(
    line: str, failure: str, tiny_model: Tiny, tmp_path: Path
) -> None:
    tiny, changed = tiny_model("rle_res50"), tmp_path / "changed.py"
    changed.write_text(f"{tiny.config.read_text()}\n{line}\n")
    with pytest.raises(BadInputError, match=failure):
        build_model(load_model_config(changed), tiny.checkpoint)


def test_only_sigmas_make_scores_that_a_graph_could_hold(tiny_model: Tiny) -> None:
    deploy = load_deploy_config("pose-detection_regression_onnxruntime-keypoints_dynamic")
    check_fit(deploy, load_model_config(tiny_model("rle_res50").config))
    for name in ("dsnt_res50", "reg_res50"):
        with pytest.raises(BadInputError, match="ends with keypoints anyway"):
            check_fit(deploy, load_model_config(tiny_model(name).config))
