"""People put together of maps, against MMPose's codecs and heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import compile_decoder
from posedeploy.sdk.decode.assignment import assigned
from posedeploy.sdk.decode.associative_embedding import resized
from posedeploy.sdk.decode.people import largest, only_peaks
from posedeploy.sdk.fields import Node

pytestmark = [
    pytest.mark.usefixtures("_mmpose"),
    pytest.mark.filterwarnings("ignore:Default grid_sample:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning"),
    pytest.mark.filterwarnings("ignore:Fail to import:UserWarning:mmcv"),
]
Floats = NDArray[np.float32]

SIZE, CELLS, KEYPOINTS = (160, 128), (40, 32), 5
ORDER = [0, 2, 1, 4, 3]
CODEC = {
    "input_size": SIZE, "heatmap_size": CELLS, "generate_keypoint_heatmaps": True,
    "sigma": (4, 2), "decode_max_instances": 12,
}  # fmt: skip
EMBEDDING: dict[str, Any] = {
    "input_size": SIZE, "heatmap_size": SIZE, "decode_keypoint_order": ORDER, "decode_topk": 9,
    "decode_center_shift": 0.5, "decode_max_instances": 20,
}  # fmt: skip


def smooth(rng: np.random.Generator, channels: int, cells: tuple[int, int] = CELLS) -> Floats:
    """Maps `[C, h, w]` of mean 0 and standard deviation 1 with peaks of some cells."""
    import cv2

    noise = rng.normal(size=(channels, *cells[::-1])).astype(np.float32)
    maps = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in noise])
    result: Floats = ((maps - maps.mean()) / maps.std()).astype(np.float32)
    return result


def decoder(component: str, params: dict[str, Any], folder: Path = Path()) -> Any:
    text = {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}
    return compile_decoder(component, Node(text, "pipeline.json", "$.params"), SIZE, folder)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.6]), st.sampled_from([None, 1]))
def test_dekr_is_mmposes_head(seed: int, near: float, joints: int | None) -> None:
    import torch
    from mmpose.codecs import SPR
    from mmpose.models.heads import DEKRHead

    rng = np.random.default_rng(seed)
    heatmaps = smooth(rng, KEYPOINTS + 1)
    heatmaps[-1] -= 1.0  # not every peak is a person
    moves = 6 * smooth(rng, 2 * KEYPOINTS)
    config = {"nms_dist_thr": near, "nms_joints_thr": joints, "max_num_people": 4}
    head = SimpleNamespace(decoder=SPR(**CODEC), rescore_net=None)
    maps = (torch.from_numpy(array[None]) for array in (heatmaps, moves))
    (expected,) = DEKRHead.decode(head, *([one] for one in maps), config, {})
    people = decoder("DEKRDecode", {**CODEC, **config}).decode(
        {"heatmaps": heatmaps[None], "displacements": moves[None]}
    )
    assert people.points == pytest.approx(expected.keypoints, abs=1e-3)
    assert people.point_scores == pytest.approx(expected.keypoint_scores, abs=1e-5)
    assert people.box_scores == pytest.approx(expected.keypoint_scores.mean(axis=1), abs=1e-5)


def test_dekr_scores_poses_again_as_mmposes_net(tmp_path: Path) -> None:
    import torch
    from mmpose.models.heads.hybrid_heads.dekr_head import RescoreNet

    from posedeploy.export.dekr import write_rescore_net

    torch.manual_seed(0)
    links = [(0, 1), (1, 2), (2, 3), (3, 4)]
    net = RescoreNet(3 * len(links) + KEYPOINTS, (0, 2))
    packed = SimpleNamespace(pipeline=[{"meta_keys": ("skeleton_links",)}])
    model = SimpleNamespace(
        head=SimpleNamespace(rescore_net=net, num_keypoints=KEYPOINTS),
        dataset_meta={"skeleton_links": links},
        cfg=SimpleNamespace(test_dataloader=SimpleNamespace(dataset=packed)),
    )
    write_rescore_net(model, SIZE, tmp_path / "end2end.npz")
    made = decoder("DEKRDecode", {**CODEC, "weights": "end2end.npz"}, tmp_path)
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 100, (7, KEYPOINTS, 2)).astype(np.float32)
    points[3] = points[3, :1]  # nobody's limbs have a length
    scores = rng.uniform(0, 1, (7, KEYPOINTS)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(points), torch.from_numpy(scores), links)
    assert made.rescore(points, scores) == pytest.approx(expected.numpy(), abs=1e-5)

    packed.pipeline[0]["meta_keys"] = ()  # mmpose scores nothing again then
    write_rescore_net(model, SIZE, tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2]), st.booleans(), st.booleans())
def test_associative_embedding_is_mmposes_codec(
    seed: int, tag_dim: int, few: bool, align_corners: bool
) -> None:
    import torch
    from mmpose.codecs import AssociativeEmbedding

    from posedeploy.zoo.associative_embedding import predict

    rng = np.random.default_rng(seed)
    heatmaps, tags = smooth(rng, KEYPOINTS), smooth(rng, tag_dim * KEYPOINTS)
    heatmaps -= np.float32(2.2 if few else 1.5)
    codec: Any = AssociativeEmbedding(**{**EMBEDDING, "decode_keypoint_order": list(ORDER)})
    config = {"restore_heatmap_size": True, "align_corners": align_corners}
    maps = tuple(torch.from_numpy(array[None].copy()) for array in (heatmaps, tags))

    def decode(outputs: Any) -> Any:
        return codec.batch_decode(*outputs)

    head = SimpleNamespace(forward=lambda _features: maps, decode=decode, decoder=codec)
    sample = SimpleNamespace(metainfo={"img_shape": SIZE[::-1]})
    points, scores, of_people = predict(head, None, [sample], config)
    people = decoder("AssociativeEmbeddingDecode", {**EMBEDDING, **config}).decode(
        {"heatmaps": heatmaps[None], "tags": tags[None]}
    )
    assert people.points == pytest.approx(points[0], abs=1e-3)
    assert people.point_scores == pytest.approx(scores[0], abs=1e-5)
    assert people.box_scores == pytest.approx(of_people[0], abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(arrays(np.int8, st.tuples(*[st.integers(1, 9)] * 2), elements=st.integers(0, 9)))
def test_an_assignment_costs_the_least(costs: NDArray[np.int8]) -> None:
    from scipy.optimize import linear_sum_assignment

    rows, columns = assigned(costs.astype(np.float64))
    assert len(rows) == min(costs.shape) == len(set(rows)) == len(set(columns))
    exact = costs[linear_sum_assignment(costs)].sum()
    assert int(costs[rows, columns].sum()) == exact


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nobody_is_assigned_to_nobody(shape: tuple[int, int]) -> None:
    assert [len(side) for side in assigned(np.zeros(shape))] == [0, 0]


def cid_head(channels: int = 6) -> Any:
    import torch
    from mmpose.models.heads import CIDHead

    torch.manual_seed(3)
    codec = {"type": "DecoupledHeatmap", "input_size": SIZE, "heatmap_size": CELLS}
    head = CIDHead(channels, 4, KEYPOINTS, decoder=codec).eval()
    for weights in head.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    return head


@pytest.mark.parametrize("config", [{}, {"blur_kernel_size": 5, "max_instances": 3}])
def test_cid_is_mmposes_head(tmp_path: Path, config: dict[str, Any]) -> None:
    import torch

    from posedeploy.export.cid import CidNetwork, write_decoupling

    head = cid_head()
    features: Any = (torch.from_numpy(smooth(np.random.default_rng(5), 6)[None]),)
    model = SimpleNamespace(head=head, extract_feat=lambda image: image)
    network: Any = SimpleNamespace(
        model=model, **{
            name: _conv(getattr(head.gfd_module, f"{name}_attention").atn)
            for name in ("channel", "spatial")
        }
    )  # fmt: skip
    write_decoupling(model, SIZE, tmp_path / "end2end.npz")
    params = {"input_size": SIZE, "heatmap_size": CELLS, "weights": "end2end.npz", **config}
    sample = SimpleNamespace(metainfo={"input_size": SIZE})
    with torch.no_grad():
        maps = CidNetwork.forward(network, features)
        (expected,) = head.predict(features, [sample], config)
    names = ("centers", "features", "channel", "spatial")
    outputs = {name: one.numpy() for name, one in zip(names, maps, strict=True)}
    people = decoder("CIDDecode", params, tmp_path).decode(outputs)
    assert len(people.points) > 2
    assert people.points == pytest.approx(expected.keypoints, abs=1e-3)
    assert people.point_scores == pytest.approx(expected.keypoint_scores, abs=1e-5)


def _conv(linear: Any) -> Any:
    from posedeploy.export.cid import _everywhere

    return _everywhere(linear)


def test_nobody_is_nobody(tmp_path: Path) -> None:
    from posedeploy.export.cid import write_decoupling

    write_decoupling(SimpleNamespace(head=cid_head()), SIZE, tmp_path / "end2end.npz")
    low = np.full((1, KEYPOINTS + 1, *CELLS[::-1]), -20, np.float32)
    moves = np.zeros((1, 2 * KEYPOINTS, *CELLS[::-1]), np.float32)
    params = {"input_size": SIZE, "heatmap_size": CELLS, "weights": "end2end.npz"}
    cases: list[tuple[str, dict[str, Any], dict[str, Floats]]] = [
        ("DEKRDecode", CODEC, {"heatmaps": low, "displacements": moves}),
        ("AssociativeEmbeddingDecode", EMBEDDING, {"heatmaps": low[:, 1:], "tags": low[:, 1:]}),
        ("CIDDecode", params | {"score_threshold": 0.5},
         {"centers": low[:, :1], **dict.fromkeys(("features", "channel", "spatial"), low[:, :4])}),
    ]  # fmt: skip
    for component, fields, outputs in cases:
        people = decoder(component, fields, tmp_path).decode(outputs)
        assert people.points.shape == (0, KEYPOINTS, 2)
        assert people.boxes is not None
        assert people.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("component", "params", "message"),
    [
        ("DEKRDecode", {**CODEC, "generate_keypoint_heatmaps": False}, "one of True"),
        ("DEKRDecode", {**CODEC, "decode_nms_kernel": 4}, "an odd integer"),
        ("DEKRDecode", {**CODEC, "decode_thr": -1.0}, "a number from 0"),
        ("DEKRDecode", {**CODEC, "decode_max_instances": 0}, "an integer from 1"),
        ("DEKRDecode", {**CODEC, "weights": "../x.npz"}, "weights"),
        ("AssociativeEmbeddingDecode", {**EMBEDDING, "decode_keypoint_order": [0, 0]}, "once"),
        ("AssociativeEmbeddingDecode", {**EMBEDDING, "use_udp": True}, "one of False"),
        ("CIDDecode", {"input_size": SIZE, "heatmap_size": CELLS}, "weights"),
    ],
)
def test_parameters_that_cannot_be_honored_are_refused(
    component: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        decoder(component, params)


def test_maps_of_other_shapes_are_refused() -> None:
    maps = np.zeros((1, KEYPOINTS + 1, *CELLS[::-1]), np.float32)
    with pytest.raises(BadInputError, match="displacements"):
        decoder("DEKRDecode", CODEC).decode({"heatmaps": maps, "displacements": maps})
    with pytest.raises(BadInputError, match="a multiple of 5"):
        decoder("AssociativeEmbeddingDecode", EMBEDDING).decode(
            {"heatmaps": maps[:, 1:], "tags": maps}
        )


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_the_largest_come_first(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).integers(-3, 9, size=(2, 20)).astype(np.float32)
    best, index = largest(values, count)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    expected = np.take_along_axis(values, order, axis=1)
    assert np.array_equal(best, expected.clip(0))
    assert np.array_equal(index[expected > 0], order[expected > 0])


@pytest.mark.parametrize("size", [(80, 48), (20, 90), CELLS])
@pytest.mark.parametrize("align_corners", [True, False])
def test_maps_are_resized_as_torch_does(size: tuple[int, int], align_corners: bool) -> None:
    import torch

    maps = smooth(np.random.default_rng(2), 3)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps[None]), size[::-1], mode="bilinear", align_corners=align_corners
    )
    assert resized(maps, size, align_corners) == pytest.approx(expected[0].numpy(), abs=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_peaks_are_those_of_mmpose(kernel: int) -> None:
    import torch
    from mmpose.codecs.utils import batch_heatmap_nms

    maps = smooth(np.random.default_rng(4), 3)
    expected: Callable[..., Any] = batch_heatmap_nms
    assert only_peaks(maps, kernel) == pytest.approx(
        expected(torch.from_numpy(maps[None]), kernel)[0].numpy()
    )
