"""Decoding against MMPose's codecs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from posedeploy.errors import BadInputError
from posedeploy.heads import component_names, stage_of_component
from posedeploy.sdk.decode import compile_decoder
from posedeploy.sdk.decode.detections import DenseDecoder, Suppression
from posedeploy.sdk.decode.heatmap import HeatmapDecoder
from posedeploy.sdk.decode.refine import inverses
from posedeploy.sdk.decode.selected import selected
from posedeploy.sdk.decode.simcc import SimCCDecoder, dark_kernel
from posedeploy.sdk.fields import Node
from posedeploy.sdk.transforms import to_image

pytestmark = [
    pytest.mark.usefixtures("_mmpose"),
    # mmpose's own: a positional out=, 0 / 0 in its blur, and what mmcv-lite lacks
    pytest.mark.filterwarnings("ignore:Passing more than 2 positional:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning:mmpose"),
    pytest.mark.filterwarnings("ignore:Fail to import:UserWarning:mmcv"),
]

HEATMAP, SIMCC = "TopdownHeatmapSimpleHeadDecode", "SimCCLabelDecode"
SIZE, CELLS = (192, 256), (48, 64)


def decoder(component: str, params: dict[str, Any], size: tuple[int, int] = SIZE) -> Any:
    return compile_decoder(component, Node(params, "pipeline.json", "$.tasks[2].params"), size)


@st.composite
def heatmaps(draw: st.DrawFn, channels: int = 5) -> np.ndarray[Any, Any]:
    """Peaks in and around the map over noise, of either sign, large or small."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    people = draw(st.integers(1, 3))
    width, height = draw(st.sampled_from([CELLS, (12, 16), (64, 64), (5, 7)]))
    y, x = np.mgrid[:height, :width]
    maps = np.empty((people, channels, height, width), np.float32)
    noise = draw(st.sampled_from([0.0, 0.01, 0.3]))
    for cell in maps.reshape(-1, height, width):
        center = rng.uniform(-3, (width + 3, height + 3))
        spread = 2 * rng.uniform(0.5, 3) ** 2
        bump = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / spread)
        cell[:] = rng.uniform(0.1, 1.2) * bump + rng.normal(size=cell.shape) * noise
    maps *= draw(st.sampled_from([1.0, 255.0, 1e-4, -1.0]))
    if draw(st.booleans()):
        maps[:, 0] = draw(st.sampled_from([0.0, 0.5, -0.5]))  # no peak at all
    return maps


# params of the folder -> MMPose's codec, given input size and heatmap size
HEATMAP_CODECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "msra": ({"type": "MSRAHeatmap", "sigma": 2, "post_process": "default"}, {"sigma": 2}),
    "unbiased": (
        {"type": "MSRAHeatmap", "sigma": 2, "unbiased": True, "post_process": "unbiased"},
        {"sigma": 2, "unbiased": True},
    ),
    "unbiased, as MMDeploy writes it": (
        {"type": "MSRAHeatmap", "unbiased": True, "blur_kernel_size": 17,
         "post_process": "default"},
        {"sigma": 3, "unbiased": True, "blur_kernel_size": 17},
    ),
    "megvii": (
        {"type": "MegviiHeatmap", "kernel_size": 5, "modulate_kernel": 5,
         "post_process": "megvii"},
        {"kernel_size": 5},
    ),
    "udp": ({"type": "UDPHeatmap", "post_process": "default", "use_udp": True}, {}),
    "udp, another kernel": (
        {"type": "UDPHeatmap", "blur_kernel_size": 7, "use_udp": True},
        {"blur_kernel_size": 7},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEATMAP_CODECS)
@given(maps=heatmaps())
def test_heatmaps_decode_as_the_codec(name: str, maps: Any) -> None:
    from mmpose import codecs

    params, arguments = HEATMAP_CODECS[name]
    cells = maps.shape[:1:-1]
    codec = getattr(codecs, params["type"])(SIZE, cells, **arguments)
    with np.errstate(all="ignore"):
        reference = [codec.decode(person.copy()) for person in maps]
    before = maps.copy()
    ours = decoder(HEATMAP, {**params, "heatmap_size": list(cells)}).decode({"output": maps})
    np.testing.assert_array_equal(maps, before, "the graph's output was written to")
    scores = np.concatenate([scores for _, scores in reference])
    # MMPose's blur divides by a maximum of 0, and its UDP step reads a neighboring keypoint.
    peak = np.isfinite(scores) & ((scores > 0) | ("UDP" not in params["type"]))
    np.testing.assert_allclose(ours.point_scores[peak], scores[peak], rtol=3e-7)
    points = np.concatenate([points for points, _ in reference])
    np.testing.assert_allclose(ours.points[peak], points[peak], rtol=1e-6, atol=1e-6)
    assert np.isfinite(ours.points).all()


@given(maps=heatmaps(channels=9))
def test_combined_udp_maps_decode_as_the_codec(maps: Any) -> None:
    from mmpose.codecs import UDPHeatmap

    cells = maps.shape[:1:-1]
    assume(min(cells) > 11)  # OpenCV sums in another order where the kernel exceeds the map
    codec = UDPHeatmap(SIZE, cells, heatmap_type="combined", radius_factor=0.1, blur_kernel_size=5)
    reference = [codec.decode(person.copy()) for person in maps]
    params = {"type": "UDPHeatmap", "heatmap_type": "combined", "radius_factor": 0.1}
    ours = decoder(HEATMAP, {**params, "blur_kernel_size": 5}).decode({"output": maps})
    scores = np.concatenate([scores for _, scores in reference])
    np.testing.assert_allclose(ours.point_scores, scores, rtol=2e-6, atol=1e-7)
    points, peak = np.concatenate([points for points, _ in reference]), scores > 0
    np.testing.assert_allclose(ours.points[peak], points[peak], rtol=1e-6, atol=1e-6)


@st.composite
def distributions(draw: st.DrawFn) -> tuple[Any, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    people, ratio = draw(st.integers(1, 3)), draw(st.sampled_from([1.0, 2.0, 3.0]))
    axes = []
    for side in SIZE:
        bins = np.arange(int(side * ratio))
        center = rng.uniform(-5, len(bins) + 5, (people, 4, 1))
        bump = np.exp(-((bins - center) ** 2) / rng.uniform(5, 200))
        noise = rng.normal(size=bump.shape) * draw(st.sampled_from([0, 0.01, 0.3]))
        axes.append((bump + noise).astype(np.float32) * draw(st.sampled_from([1, 30, -1])))
    return ratio, axes


@given(
    case=distributions(),
    sigma=st.sampled_from([6.0, (4.9, 5.66), (2.0, 3.0)]),
    use_dark=st.booleans(),
)
def test_simcc_decodes_as_the_codec(case: Any, sigma: Any, use_dark: bool) -> None:
    from mmpose.codecs import SimCCLabel

    ratio, (x, y) = case
    codec = SimCCLabel(SIZE, sigma=sigma, simcc_split_ratio=ratio, use_dark=use_dark)
    points, scores = codec.decode(x.copy(), y.copy())
    params = {
        "type": "SimCCLabel", "input_size": list(SIZE), "simcc_split_ratio": ratio,
        "sigma": list(sigma) if isinstance(sigma, tuple) else sigma, "use_dark": use_dark,
        "export_postprocess": False,
    }  # fmt: skip
    ours = decoder(SIMCC, params).decode({"simcc_x": x, "simcc_y": y})
    np.testing.assert_array_equal(ours.point_scores, scores)
    peak = scores > 0
    np.testing.assert_allclose(ours.points[peak], points[peak], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ours.points[~peak], np.float32(-1 / ratio))


@given(
    seed=st.integers(0, 2**32),
    boxes=st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=2), min_size=1, max_size=4
    ),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_mapping_to_the_image_equals_mmpose(seed: int, boxes: Any, dtype: Any) -> None:
    from mmengine.structures import InstanceData
    from mmpose.models.pose_estimators import TopdownPoseEstimator

    rng = np.random.default_rng(seed)
    centers = np.array(boxes, dtype)
    scales = (rng.uniform(0, 500, centers.shape)).astype(dtype)
    points = rng.uniform(-10, 300, (len(boxes), 6, 2)).astype(np.float32)
    ours = to_image(points, centers, scales, SIZE).astype(np.float32)
    for row in range(len(boxes)):
        sample = SimpleNamespace(
            gt_instances=SimpleNamespace(bboxes=None, bbox_scores=None),
            metainfo={
                "input_center": centers[row], "input_scale": scales[row], "input_size": SIZE
            },
        )  # fmt: skip
        predicted = InstanceData(
            keypoints=points[row : row + 1].copy(), keypoint_scores=np.ones((1, 6))
        )
        predicted.bboxes = predicted.bbox_scores = np.ones((1, 4))
        sample.gt_instances = predicted
        TopdownPoseEstimator.add_pred_to_datasample(
            SimpleNamespace(test_cfg={}), [predicted], None, [sample]
        )
        np.testing.assert_array_equal(ours[row], predicted.keypoints[0])


@pytest.mark.parametrize("component", ["YOLOXPoseDetections", "RTMODetections"])
def test_detections_drop_padding_and_clip_boxes(component: str) -> None:
    dets = np.zeros((2, 3, 5), np.float32)
    dets[0, 0], dets[0, 1], dets[1, 0] = (
        (-5, 1, 700, 2, 0.9),
        (1, 2, 3, 4, 0.05),
        (0, 0, 9, 9, 0.3),
    )
    keypoints = np.arange(2 * 3 * 2 * 3, dtype=np.float32).reshape(2, 3, 2, 3)
    params = {"input_size": [640, 416], "score_thr": 0.1, "type": "YOLOXPoseAnnotationProcessor"}
    ours = decoder(component, params, (640, 416)).decode({"dets": dets, "keypoints": keypoints})
    assert ours.image.tolist() == [0, 1]
    np.testing.assert_array_equal(ours.boxes, [[0, 1, 640, 2], [0, 0, 9, 9]])
    np.testing.assert_array_equal(ours.points, keypoints[[0, 1], [0, 0], :, :2])
    np.testing.assert_array_equal(ours.point_scores, keypoints[[0, 1], [0, 0], :, 2])
    np.testing.assert_array_equal(ours.box_scores, np.array([0.9, 0.3], np.float32))
    without = decoder(component, {}, (640, 416)).decode({"dets": dets, "keypoints": keypoints})
    assert without.image.tolist() == [0, 0, 1]


def classified(*labels: float) -> dict[str, Any]:
    """Outputs with one person of each class, the best first, and a row of padding."""
    dets = np.zeros((1, len(labels) + 1, 6), np.float32)
    dets[0, :-1, 4], dets[0, :-1, 5] = np.linspace(0.9, 0.5, len(labels)), labels
    return {"dets": dets, "keypoints": np.ones((1, len(labels) + 1, 17, 3), np.float32)}


def test_a_sixth_column_is_the_class() -> None:
    ours = decoder("RTMODetections", {}, (640, 640)).decode(classified(2, 0, 1))
    assert ours.labels is not None
    assert ours.labels.tolist() == [2, 0, 1]
    assert ours.labels.dtype == np.int64
    assert ours.boxes.shape == (3, 4)
    some = decoder("RTMODetections", {"score_thr": 0.6}, (640, 640)).decode(classified(2, 0, 1))
    assert some.labels is not None
    assert some.labels.tolist() == [2, 0]
    one_class = {name: array[..., :5] for name, array in classified(2).items()}
    assert decoder("RTMODetections", {}, (640, 640)).decode(one_class).labels is None


@pytest.mark.parametrize("label", [0.5, -1.0, np.nan, np.inf, 1e9])
def test_a_class_that_is_no_index_is_refused(label: float) -> None:
    with pytest.raises(BadInputError, match=r"'dets'.*class.*whole numbers from 0"):
        decoder("RTMODetections", {}, (640, 640)).decode(classified(0, label))


def test_candidates_have_the_class_of_their_best_score() -> None:
    rule = {"score_threshold": 0.1, "iou_threshold": 0.5, "pre_top_k": 9, "max_output": 9,
            "keep_top_k": 9}  # fmt: skip
    boxes = np.array([[[0, 0, 8, 8], [0, 0, 8, 7], [20, 20, 30, 30], [40, 0, 50, 9]]], np.float32)
    scores = np.array([[[0.2, 0.6], [0.7, 0.1], [0.3, 0.3], [0.05, 0.02]]], np.float32)
    outputs = {"boxes": boxes, "scores": scores, "keypoints": np.ones((1, 4, 17, 3), np.float32)}
    ours = decoder("YOLOXPoseHostDetections", rule, (64, 64)).decode(outputs)
    # a better person of another class removes the first; of equal scores the first class counts
    np.testing.assert_array_equal(ours.box_scores, np.array([0.7, 0.3], np.float32))
    assert ours.labels is not None
    assert ours.labels.tolist() == [0, 0]
    outputs["scores"] = scores[..., ::-1]
    ours = decoder("YOLOXPoseHostDetections", rule, (64, 64)).decode(outputs)
    assert ours.labels is not None
    assert ours.labels.tolist() == [1, 0]
    outputs["scores"] = scores[..., :1]
    assert decoder("YOLOXPoseHostDetections", rule, (64, 64)).decode(outputs).labels is None


def test_nobody_in_the_image_gives_empty_arrays() -> None:
    outputs = {"dets": np.zeros((1, 5, 5), np.float32), "keypoints": np.zeros((1, 5, 17, 3))}
    ours = decoder("RTMODetections", {}, (640, 640)).decode(outputs)
    assert ours.points.shape == (0, 17, 2)
    assert ours.boxes.shape == (0, 4)


def test_half_precision_outputs_are_decoded_in_float32() -> None:
    maps = np.zeros((1, 1, 16, 12), np.float16)
    maps[0, 0, 8, 4], maps[0, 0, 8, 5] = 1, 0.5
    ours = decoder(HEATMAP, {}, (48, 64)).decode({"output": maps})
    np.testing.assert_array_equal(ours.points, [[[17, 32]]])


def test_selected_keypoints_are_the_models_in_their_order() -> None:
    params = {"type": "MSRAHeatmap", "output_keypoint_indices": [3, 0, 3]}
    outputs = {"output": np.random.default_rng(0).random((2, 5, 64, 48), np.float32)}
    every = decoder(HEATMAP, params)
    few = selected(every, Node(params, "pipeline.json"))
    assert few.outputs == every.outputs
    np.testing.assert_array_equal(
        few.decode(outputs).points, every.decode(outputs).points[:, [3, 0, 3]]
    )
    np.testing.assert_array_equal(
        few.decode(outputs).point_scores, every.decode(outputs).point_scores[:, [3, 0, 3]]
    )
    assert selected(every, Node({"output_keypoint_indices": None}, "pipeline.json")) is every


@pytest.mark.parametrize("indices", [[], [-1], [0, 5], ["0"], 3])
def test_a_selection_of_keypoints_that_are_not_there_is_refused(indices: Any) -> None:
    params = {"type": "MSRAHeatmap", "output_keypoint_indices": indices}
    outputs = {"output": np.zeros((1, 5, 64, 48), np.float32)}
    with pytest.raises(BadInputError, match="output_keypoint_indices"):
        selected(decoder(HEATMAP, params), Node(params, "pipeline.json")).decode(outputs)


def test_a_matrix_without_an_inverse_refines_nothing_and_spoils_no_other() -> None:
    matrices = np.array([[[1, 2], [2, 4]], [[2, 0], [0, 4]], [[0, 0], [0, 0]]], np.float32)
    expected = [np.zeros((2, 2)), np.diag([0.5, 0.25]), np.zeros((2, 2))]
    np.testing.assert_array_equal(inverses(matrices), expected)


@pytest.mark.parametrize(
    ("params", "method"),
    [
        ({}, "default"),
        ({"post_process": "default"}, "default"),
        ({"post_process": None}, "null"),
        ({"post_process": "null"}, "null"),
        ({"post_process": "unbiased", "modulate_kernel": 17}, "dark"),
        ({"post_process": "megvii"}, "megvii"),
        ({"use_udp": True}, "udp"),
        ({"use_udp": True, "target_type": "CombinedTarget"}, "combined"),
    ],
)
def test_without_a_codec_the_clients_fields_decide(params: dict[str, Any], method: str) -> None:
    assert decoder(HEATMAP, params).method == method


def test_null_keeps_the_cell() -> None:
    maps = np.random.default_rng(0).uniform(0.1, 1, (1, 2, 64, 48)).astype(np.float32)
    ours = decoder(HEATMAP, {"post_process": "null"}).decode({"output": maps})
    assert (ours.points % 4 == 0).all()


def test_dark_kernels_are_odd_and_follow_sigma() -> None:
    assert [dark_kernel(sigma) for sigma in (6.0, 4.9, 5.66)] == [37, 29, 35]


MSRA = {"type": "MSRAHeatmap"}
ENDED = {"export_postprocess": True}


@pytest.mark.parametrize("last", [(), (1,)])
def test_keypoints_of_the_graph_are_taken_as_they_are(last: tuple[int, ...]) -> None:
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    scores = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)
    points[1, 2] = np.nan
    got = decoder(SIMCC, ENDED).decode({"simcc_x": points, "simcc_y": scores.reshape(2, 3, *last)})
    np.testing.assert_array_equal(got.points[0], points[0])
    np.testing.assert_array_equal(got.point_scores[0], scores[0])
    np.testing.assert_array_equal(got.points[1, 2], [-1, -1])
    assert np.isnan(got.point_scores[1, 2])


REFUSED = [
    (HEATMAP, {**MSRA, "post_process": "megvii"}, "post_process"),
    (HEATMAP, {**MSRA, "post_process": "unbiased"}, "post_process"),
    (HEATMAP, {**MSRA, "use_udp": True}, "use_udp"),
    (HEATMAP, {"type": "UDPHeatmap", "use_udp": False}, "use_udp"),
    (HEATMAP, {"type": "UDPHeatmap", "heatmap_type": "both"}, "heatmap_type"),
    (HEATMAP, {"type": "MegviiHeatmap", "kernel_size": 5, "modulate_kernel": 7}, "modulate"),
    (HEATMAP, {"type": "MegviiHeatmap", "kernel_size": 4}, "odd integer"),
    (HEATMAP, {"type": "RegressionLabel"}, "'RegressionLabel'"),
    (HEATMAP, {"type": 3}, "a string"),
    (HEATMAP, {"post_process": "maybe"}, "post_process"),
    (HEATMAP, {**MSRA, "input_size": [192, 255]}, "input_size"),
    (HEATMAP, {**MSRA, "radius_factor": 0}, "radius_factor"),
    (SIMCC, {"type": "MSRAHeatmap"}, "SimCCLabel"),
    (SIMCC, {"export_postprocess": "yes"}, "export_postprocess"),
    (SIMCC, {"simcc_split_ratio": 0}, "simcc_split_ratio"),
    (SIMCC, {"use_dark": True, "sigma": 0.1}, "sigma"),
    (SIMCC, {"use_dark": True, "sigma": [1, 2, 3]}, "sigma"),
    ("RTMODetections", {"score_thr": 1}, "score_thr"),
    ("UNKNOWN", {}, "component"),
]


@pytest.mark.parametrize(("component", "params", "failure"), REFUSED)
def test_parameters_that_contradict_are_refused(
    component: str, params: dict[str, Any], failure: str
) -> None:
    with pytest.raises(BadInputError, match=failure):
        decoder(component, params)


@pytest.mark.parametrize(
    ("component", "params", "outputs"),
    [
        (HEATMAP, {}, {"output": np.zeros((1, 2, 3))}),
        (HEATMAP, {}, {"output": np.zeros((1, 2, 0, 3))}),
        (HEATMAP, {"heatmap_size": [12, 17]}, {"output": np.zeros((1, 2, 16, 12))}),
        (HEATMAP, {}, {"output": np.array([[[["a"]]]])}),
        (SIMCC, {}, {"simcc_x": np.zeros((1, 2, 384)), "simcc_y": np.zeros((1, 3, 512))}),
        (SIMCC, {}, {"simcc_x": np.zeros((1, 2, 512)), "simcc_y": np.zeros((1, 2, 384))}),
        (SIMCC, ENDED, {"simcc_x": np.zeros((1, 2, 3)), "simcc_y": np.zeros((1, 2))}),
        (SIMCC, ENDED, {"simcc_x": np.zeros((1, 2, 2)), "simcc_y": np.zeros((1, 3))}),
        ("RTMODetections", {}, {"dets": np.zeros((1, 2, 7)), "keypoints": np.zeros((1, 2, 3, 3))}),
        ("RTMODetections", {}, {"dets": np.zeros((1, 2, 5)), "keypoints": np.zeros((1, 3, 3, 3))}),
    ],
)
def test_outputs_of_the_wrong_shape_are_refused(
    component: str, params: dict[str, Any], outputs: dict[str, Any]
) -> None:
    with pytest.raises(BadInputError, match="graph output"):
        decoder(component, params).decode(outputs)


def test_the_heatmap_aliases_are_one_component() -> None:
    aliases = [name for name in component_names() if "Heatmap" in name]
    assert len(aliases) == 5
    assert len({stage_of_component(name, {})[1].decoder for name in aliases}) == 1


# ---- outputs that are no numbers ---------------------------------------------------------------

BAD = st.sampled_from([np.nan, np.inf])


def simcc_outputs(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "simcc_x": rng.random((2, 3, 96), np.float32) + 1,
        "simcc_y": rng.random((2, 3, 128), np.float32) + 1,
    }


@pytest.mark.parametrize("use_dark", [False, True])
@pytest.mark.parametrize("name", ["simcc_x", "simcc_y"])
@given(bad=BAD, place=st.integers(0, 95))
def test_an_axis_that_is_no_number_is_no_keypoint(
    use_dark: bool, name: str, bad: float, place: int
) -> None:
    outputs = simcc_outputs(np.random.default_rng(0))
    decoder = SimCCDecoder((48, 64), 2.0, (11, 11) if use_dark else ())
    whole = decoder.decode(outputs)
    outputs[name][1, 2, place] = bad
    decoded = decoder.decode(outputs)
    assert np.isnan(decoded.point_scores[1, 2])
    np.testing.assert_array_equal(decoded.points[1, 2], [-0.5, -0.5])
    others = np.ones((2, 3), bool)
    others[1, 2] = False
    np.testing.assert_array_equal(decoded.points[others], whole.points[others])
    np.testing.assert_array_equal(decoded.point_scores[others], whole.point_scores[others])


@pytest.mark.parametrize("method", ["default", "null", "dark", "megvii", "udp", "combined"])
@given(bad=BAD, place=st.integers(0, 191), channel=st.integers(0, 2))
def test_a_heatmap_that_is_no_number_is_no_keypoint(
    method: Any, bad: float, place: int, channel: int
) -> None:
    maps = np.random.default_rng(0).random((2, 9, 16, 12), np.float32) + 1
    decoder = HeatmapDecoder(method, (48, 64), None, 5)
    whole = decoder.decode({"output": maps.copy()})
    step = 3 if method == "combined" else 1
    row = step * 2 + (channel if method == "combined" else 0)
    if channel and method == "combined":  # an offset: it counts where the peak is
        maps[1, row] = bad
    else:
        maps[1, row].flat[place] = bad
    decoded = decoder.decode({"output": maps})
    assert np.isnan(decoded.point_scores[1, 2])
    assert np.isfinite(decoded.points).all()
    others = np.ones(decoded.point_scores.shape, bool)
    others[1, 2] = False
    np.testing.assert_array_equal(decoded.points[others], whole.points[others])
    np.testing.assert_array_equal(decoded.point_scores[others], whole.point_scores[others])


def test_detections_that_are_no_numbers_suppress_nobody_and_are_not_believed() -> None:
    rule = Suppression(0.1, 0.5, 10, 10, 10)
    boxes = np.array([[np.nan] * 4, [0, 0, 9, 9], [20, 20, 30, 30]], np.float32)
    keypoints = np.ones((1, 3, 2, 3), np.float32)
    keypoints[0, 1, 0, 1] = np.nan
    keypoints[0, 2, 1, 0] = np.inf
    scores = np.array([[0.9], [0.8], [0.7]], np.float32)
    decoded = DenseDecoder((64, 64), rule).decode(
        {"boxes": boxes[None], "scores": scores[None], "keypoints": keypoints}
    )
    np.testing.assert_array_equal(decoded.box_scores, np.array([0.8, 0.7], np.float32))
    np.testing.assert_array_equal(np.isnan(decoded.point_scores), [[True, False], [False, True]])
