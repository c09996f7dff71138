"""Exportable modules in eager mode: they compute what mmpose computes, and change no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from posedeploy.config import DeployConfig, NmsSettings
from posedeploy.errors import BadInputError
from posedeploy.export import detection_settings

DETECTORS = ("yoloxpose", "rtmo")
SEVERAL = ("yoloxpose/3", "rtmo/3")  # classes


@pytest.mark.parametrize("name", ["heatmap", "cpm", "mspn", "litehrnet", "vipnas"])
def test_heatmaps_are_those_of_the_last_stage(subject: Callable[[str], Any], name: str) -> None:
    it = subject(name)
    image = it.image(2)
    with torch.no_grad():
        (heatmaps,) = it.exportable().network(image)
        stages = it.model.head(it.model.extract_feat(image))
    last = stages[-1] if isinstance(stages, list) else stages
    assert heatmaps.shape[:2] == (2, 17)
    assert torch.equal(heatmaps, last)
    if isinstance(stages, list):
        assert not torch.equal(heatmaps, stages[0])


@pytest.mark.parametrize(("name", "rounding"), [("simcc", 0.0), ("rtmpose", 1e-5), ("rtmw", 1e-5)])
def test_simcc_vectors_are_the_heads(
    subject: Callable[[str], Any], name: str, rounding: float
) -> None:
    """The norm of a gated attention is written in another way."""
    it = subject(name)
    image = it.image(2)
    with torch.no_grad():
        x, y = it.exportable().network(image)
        expected = it.model.head(it.model.extract_feat(image))
    assert x.shape == (2, 17, 2 * it.size[0])
    assert y.shape == (2, 17, 2 * it.size[1])
    torch.testing.assert_close(x, expected[0], rtol=0, atol=rounding)
    torch.testing.assert_close(y, expected[1], rtol=0, atol=rounding)


def test_visibilities_are_probabilities_beside_the_heatmaps(
    subject: Callable[[str], Any],
) -> None:
    it = subject("vis")
    image = it.image(2)
    with torch.no_grad():
        heatmaps, visible = it.exportable().network(image)
        expected, logits = it.model.head(it.model.extract_feat(image))
    assert torch.equal(heatmaps, expected)
    assert torch.equal(visible, logits.sigmoid())
    assert visible.shape == (2, 17)
    assert not torch.equal(visible[0], visible[1])


@pytest.mark.parametrize("name", DETECTORS + SEVERAL)
def test_people_are_those_of_predict(
    subject: Callable[[str], Any], assert_same_people: Callable[..., None], name: str
) -> None:
    it = subject(name)
    image = it.image(3)
    with torch.no_grad():
        dets, keypoints = it.exportable().network(image)
    expected = it.predict(image)
    counts = [len(one.bbox_scores) for one in expected]
    assert min(counts) > 2
    assert len(set(counts)) > 1
    for row, one in enumerate(expected):
        assert_same_people(dets[row].numpy(), keypoints[row].numpy(), one)


@pytest.mark.parametrize("name", SEVERAL)
def test_several_classes_are_a_sixth_column(subject: Callable[[str], Any], name: str) -> None:
    it = subject(name)
    image = it.image(3)
    with torch.no_grad():
        dets, _ = it.exportable().network(image)
    assert dets.shape[2] == 6
    assert subject(name.split("/", maxsplit=1)[0]).exportable().network(image)[0].shape[2] == 5
    labels = [one.labels for one in it.predict(image)]
    assert len(np.unique(np.concatenate(labels))) == 3
    assert not dets[dets[..., 4] == 0].any()  # padding, the class too


def test_the_dense_stage_has_a_score_for_each_class(subject: Callable[[str], Any]) -> None:
    it = subject("yoloxpose/3")
    with torch.no_grad():
        _, scores, _ = it.exportable(stage="dense").network(it.image(1))
    expected = it.predict(it.image(1), score_thr=-1.0, nms_thr=1.0)[0]
    best, labels = scores[0].max(dim=1)
    order = np.argsort(-best.numpy(), kind="stable")
    assert scores.shape[2] == 3
    np.testing.assert_array_equal(expected.scores, best[order].numpy())
    np.testing.assert_array_equal(expected.labels, labels[order].numpy())


@pytest.mark.parametrize("name", DETECTORS)
def test_suppression_drops_somebody_and_boxes_are_clipped(
    subject: Callable[[str], Any], name: str
) -> None:
    it = subject(name)
    image = it.image(2)
    everybody = it.predict(image, nms_thr=0.999)
    expected = it.predict(image)
    assert sum(len(e.bboxes) for e in expected) < sum(len(e.bboxes) for e in everybody)
    with torch.no_grad():
        boxes, _, _ = it.exportable(stage="dense").network(image)
        dets, _ = it.exportable().network(image)
    assert boxes.min() < 0
    assert dets.min() >= 0
    assert (dets[..., [0, 2]] <= it.size[0]).all()
    assert (dets[..., [1, 3]] <= it.size[1]).all()


def test_without_suppression_every_candidate_stays(
    subject: Callable[[str], Any], assert_same_people: Callable[..., None]
) -> None:
    it = subject("yoloxpose")
    image = it.image(1)
    deploy = it.deploy_config(nms=NmsSettings(0.3, 0.65, 200, 5000, 200))
    with torch.no_grad():
        dets, keypoints = it.exportable(deploy, nms_thr=1.0).network(image)
    expected = it.predict(image, nms_thr=1.0)[0]
    assert len(expected.bboxes) > len(it.predict(image)[0].bboxes)
    assert_same_people(dets[0].numpy(), keypoints[0].numpy(), expected)


@pytest.mark.parametrize("name", DETECTORS)
def test_nobody_gives_zeros(subject: Callable[[str], Any], name: str) -> None:
    it = subject(name)
    with torch.no_grad():
        dets, keypoints = it.exportable(score_thr=0.9999).network(it.image(2))
    assert not dets.any()
    assert not keypoints.any()


@pytest.mark.parametrize("name", DETECTORS)
def test_fewer_priors_than_rows_are_padded(subject: Callable[[str], Any], name: str) -> None:
    it = subject(name)
    deploy = it.deploy_config(nms=NmsSettings(0.3, 0.65, 900, 5000, 900))
    with torch.no_grad():
        dets, keypoints = it.exportable(deploy).network(it.image(2))
    assert dets.shape == (2, 900, 5)
    assert keypoints.shape == (2, 900, 17, 3)
    assert dets[:, 0].any()
    assert not dets[:, 300:].any()


@pytest.mark.parametrize("name", DETECTORS)
def test_pre_selection_takes_the_best(
    subject: Callable[[str], Any], assert_same_people: Callable[..., None], name: str
) -> None:
    it = subject(name)
    image = it.image(3)
    deploy = it.deploy_config(nms=NmsSettings(0.3, 0.65, 200, 12, 10))
    with torch.no_grad():
        dets, keypoints = it.exportable(deploy).network(image)
    assert dets.shape[1] == 10
    expected = it.predict(image, nms_pre=12)
    assert [len(one.bboxes) for one in expected] != [len(o.bboxes) for o in it.predict(image)]
    for row, one in enumerate(expected):
        assert_same_people(dets[row].numpy(), keypoints[row].numpy(), one)


def test_dense_stage_of_yoloxpose_decodes_every_prior(subject: Callable[[str], Any]) -> None:
    it = subject("yoloxpose")
    image = it.image(2)
    module = it.exportable(stage="dense")
    with torch.no_grad():
        boxes, scores, keypoints = module.network(image)
    assert module.output_names == ("boxes", "scores", "keypoints")
    priors = sum((it.size[0] // s) * (it.size[1] // s) for s in (8, 16, 32))
    assert boxes.shape == (2, priors, 4)
    assert scores.shape == (2, priors, 1)
    assert keypoints.shape == (2, priors, 17, 3)
    # with nothing suppressed mmpose returns every prior, best first
    expected = it.predict(image, score_thr=-1.0, nms_thr=1.0)
    for row, one in enumerate(expected):
        order = np.argsort(-scores[row, :, 0].numpy(), kind="stable")
        np.testing.assert_array_equal(one.bbox_scores, scores[row, order, 0].numpy())
        np.testing.assert_array_equal(one.keypoints, keypoints[row, order, :, :2].numpy())


def test_dense_stage_of_rtmo_decodes_every_prior(subject: Callable[[str], Any]) -> None:
    it = subject("rtmo")
    image = it.image(1)
    with torch.no_grad():
        boxes, scores, keypoints = it.exportable(stage="dense").network(image)
    # no IoU is above this; RTMO's predict fails with nms_thr=1.0, which skips the NMS
    expected = it.predict(image, score_thr=-1.0, nms_thr=0.9999999)[0]
    order = np.argsort(-scores[0, :, 0].numpy(), kind="stable")
    assert boxes.shape == (1, len(order), 4)
    np.testing.assert_allclose(expected.keypoints, keypoints[0, order, :, :2].numpy(), atol=2e-3)


@pytest.mark.parametrize("name", DETECTORS)
def test_raw_stage_is_the_output_of_the_last_layers(
    subject: Callable[[str], Any], name: str
) -> None:
    it = subject(name)
    image = it.image(2)
    module = it.exportable(stage="raw")
    with torch.no_grad():
        raw = dict(zip(module.output_names, module.network(image), strict=True))
        levels = it.model.head(it.model.extract_feat(image))
    stride = it.model.head.featmap_strides[0]
    width, height = it.size[0] // stride, it.size[1] // stride
    first = raw["cls"][:, : width * height, 0].reshape(2, height, width)
    assert torch.equal(first, levels[0][0][:, 0])
    assert raw["bbox"].shape == (*raw["cls"].shape[:2], 4)
    assert ("pose_vec" in raw) == (name == "rtmo")


def _facts(model: Any) -> dict[str, Any]:
    return {
        "modules": [(n, type(m), m.training, sorted(vars(m))) for n, m in model.named_modules()],
        "tensors": {n: t.clone() for n, t in model.state_dict().items()},
        "gradients": [p.requires_grad for p in model.parameters()],
    }


@pytest.mark.parametrize("name", ["rtmo", "litehrnet", "rtmpose"])
def test_the_model_is_left_as_it_is(subject: Callable[[str], Any], name: str) -> None:
    it = subject(name)
    before = _facts(it.model)
    with torch.no_grad():
        it.exportable().network(it.image(1))
    after = _facts(it.model)
    assert after["modules"] == before["modules"]
    assert after["gradients"] == before["gradients"]
    assert after["tensors"].keys() == before["tensors"].keys()
    assert all(torch.equal(after["tensors"][n], t) for n, t in before["tensors"].items())


def test_weights_are_shared_not_copied(subject: Callable[[str], Any]) -> None:
    it = subject("rtmo")
    pointers = {t.data_ptr() for t in it.exportable().network.parameters()}
    assert {p.data_ptr() for p in it.model.parameters()} == pointers


@pytest.mark.parametrize("size", [(96, 160), (160, 96)])
def test_rtmo_is_right_on_rectangles(
    subject: Callable[[str], Any], assert_same_people: Callable[..., None], size: tuple[int, int]
) -> None:
    """Mmpose's own `switch_to_deploy` swaps width and height of priors and encodings."""
    it = subject("rtmo")
    it = dataclasses.replace(it, config=dataclasses.replace(it.config, input_size=size))
    image = it.image(2)
    with torch.no_grad():
        dets, keypoints = it.exportable().network(image)
    for row, one in enumerate(it.predict(image)):
        assert len(one.bboxes) > 1
        assert_same_people(dets[row].numpy(), keypoints[row].numpy(), one)


def test_the_deploy_configs_shape_wins(subject: Callable[[str], Any]) -> None:
    it = subject("rtmo")
    assert it.exportable(it.deploy_config(input_shape=(64, 128))).input_size == (64, 128)
    assert it.exportable().input_size == it.size


def test_settings_are_the_models_where_it_has_them(subject: Callable[[str], Any]) -> None:
    it = subject("rtmo")
    deploy = it.deploy_config(nms=NmsSettings(0.05, 0.5, 20, 2000, 50))
    settings = detection_settings(it.config, deploy)
    assert (settings.score_threshold, settings.iou_threshold) == (0.3, 0.65)
    assert (settings.pre_top_k, settings.max_output, settings.keep_top_k) == (2000, 20, 50)
    bare = dataclasses.replace(it.config, test_cfg={"max_per_img": 7, "nms_pre": 30})
    settings = detection_settings(bare, deploy)
    assert (settings.score_threshold, settings.iou_threshold) == (0.05, 0.5)
    assert (settings.pre_top_k, settings.max_output, settings.keep_top_k) == (30, 7, 7)
    endless = dataclasses.replace(deploy, nms=NmsSettings(0.05, 0.5, -1, -1, 50))
    settings = detection_settings(it.config, endless)
    assert settings.max_output == 50
    assert settings.pre_top_k > 10**9


def _refusal(it: Any, deploy: DeployConfig, **test_cfg: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        it.exportable(deploy, **test_cfg)
    return str(caught.value)


def test_a_config_for_another_head_is_refused(subject: Callable[[str], Any]) -> None:
    heatmap, rtmo = subject("heatmap"), subject("rtmo")
    assert "pose-detection_onnxruntime_static" in _refusal(heatmap, rtmo.deploy_config())
    assert "HeatmapHead" in _refusal(heatmap, subject("simcc").deploy_config())
    yolox = subject("yoloxpose").deploy_config()
    assert "pose-detection_rtmo_onnxruntime_static" in _refusal(rtmo, yolox)
    nameless = dataclasses.replace(yolox, name=None, output_names=("output",))
    assert "RTMOHead" in _refusal(rtmo, nameless)


def test_what_no_graph_here_computes_is_refused(subject: Callable[[str], Any]) -> None:
    it = subject("simcc")
    axes = {"onnx_config": {"dynamic_axes": {"input": {0: "batch", 2: "height"}}}}
    assert "axis 0 only" in _refusal(it, it.deploy_config(raw=axes))


def test_detectors_need_settings_rows_and_whole_strides(subject: Callable[[str], Any]) -> None:
    it = subject("rtmo")
    assert "post_processing" in _refusal(it, it.deploy_config(nms=None))
    nothing = it.deploy_config(nms=NmsSettings(0.05, 0.5, 20, 2000, 0))
    assert "keep_top_k" in _refusal(it, nothing)
    assert "multiples of 32" in _refusal(it, it.deploy_config(input_shape=(100, 96)))
