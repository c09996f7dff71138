"""OpenPose's order, against mmpose's own description of it and the rule of DWPose."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk.keypoint_orders import COCO, keypoint_order
from posedeploy.sdk.meta import DatasetMeta
from posedeploy.sdk.poses import Poses


def poses(keypoints: int) -> Poses:
    points = np.random.default_rng(0).random((2, keypoints, 3), np.float32)
    visible = (points[..., 2] / 2).astype(np.float32)
    return Poses(points, np.zeros((2, 4), np.float32), np.ones(2, np.float32), None, visible)


def dwpose(points: np.ndarray) -> np.ndarray:
    """The rule of DWPose's node, written out: names of joints to those of OpenPose."""
    neck = points[:, [5, 6]].mean(axis=1, keepdims=True)
    moved = np.insert(points, [17], neck, axis=1)
    moved[:, [1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17]] = moved[
        :, [17, 6, 8, 10, 7, 9, 12, 14, 16, 13, 15, 2, 1, 4, 3]
    ]
    return moved


@pytest.mark.parametrize("keypoints", [17, 133])
def test_keypoints_are_those_of_dwpose(keypoints: int) -> None:
    before = poses(keypoints)
    after = keypoint_order("openpose", DatasetMeta(), keypoints).apply(before)
    expected = dwpose(before.keypoints)
    np.testing.assert_allclose(after.keypoints[..., :2], expected[..., :2], rtol=1e-6)
    others = np.arange(keypoints + 1) != 1
    np.testing.assert_array_equal(after.keypoints[:, others], expected[:, others])
    shoulders = before.keypoints[:, [5, 6], 2]
    for limit in (0.1, 0.3, 0.7):  # the neck counts where both shoulders do
        np.testing.assert_array_equal(
            after.keypoints[:, 1, 2] > limit, (shoulders > limit).all(axis=1)
        )
    assert after.visible is not None
    np.testing.assert_array_equal(after.visible, after.keypoints[..., 2] / 2)


@pytest.mark.parametrize(("name", "keypoints"), [("coco", 17), ("coco_wholebody", 133)])
def test_names_and_links_are_those_of_mmposes_data_sets(name: str, keypoints: int) -> None:
    spec = importlib.util.find_spec("mmpose")
    if spec is None or spec.origin is None:
        pytest.skip("no mmpose in this environment")
    folder = Path(spec.origin).parent / ".mim" / "configs" / "_base_" / "datasets"
    theirs = meta(folder / f"{name}_openpose.py")
    ours = keypoint_order("openpose", meta(folder / f"{name}.py"), keypoints).meta
    assert ours.keypoint_names == theirs.keypoint_names
    body = range(18)
    links = {link: ours.skeleton_link_colors[i] for i, link in enumerate(ours.skeleton_links)}
    their_links = {link for link in theirs.skeleton_links if set(link) <= set(body)}
    assert {link for link in links if set(link) <= set(body)} == their_links
    assert ours.keypoint_colors[:18] == theirs.keypoint_colors[:18]
    hands = {link for link in theirs.skeleton_links if min(link) >= 92}
    assert hands <= set(links)


def meta(path: Path) -> DatasetMeta:
    """Names, links and colors of a data set's description in mmpose."""
    info = runpy.run_path(str(path))["dataset_info"]
    points = [info["keypoint_info"][i] for i in sorted(info["keypoint_info"])]
    place = {point["name"]: i for i, point in enumerate(points)}
    links = info["skeleton_info"].values()
    return DatasetMeta(
        keypoint_names=tuple(place),
        skeleton_links=tuple(tuple(place[end] for end in link["link"]) for link in links),
        keypoint_colors=tuple(tuple(point["color"]) for point in points),
        skeleton_link_colors=tuple(tuple(link["color"]) for link in links),
    )


@pytest.mark.parametrize(
    ("name", "names", "keypoints", "found"),
    [
        ("openpose", (), 26, "a model of 26 keypoints"),
        ("openpose", ("L_Eye", "R_Eye", "Nose", *COCO[3:]), 17, "L_Eye"),  # AP-10K has 17 too
        ("coco", COCO, 17, "coco"),
    ],
)
def test_other_keypoints_and_names_are_refused(
    name: str, names: tuple[str, ...], keypoints: int, found: str
) -> None:
    with pytest.raises(BadInputError, match=found):
        keypoint_order(name, DatasetMeta(keypoint_names=names), keypoints)
