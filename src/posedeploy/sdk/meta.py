"""What a model's keypoints are called and how they connect: `detail.json: $.posedeploy`."""

from __future__ import annotations

from dataclasses import dataclass

from posedeploy.sdk.fields import Node

MAX_KEYPOINTS = 10_000


@dataclass(frozen=True)
class DatasetMeta:
    """Facts about the keypoints of a data set; each field may be empty.

    Attributes:
        dataset_name: e.g. 'coco'.
        keypoint_names: One name a keypoint, in the order of the network's output.
        skeleton_links: Pairs of keypoint indices to connect in a drawing.
        sigmas: COCO's per-keypoint constants of object keypoint similarity.
        keypoint_colors: (red, green, blue), 0 to 255, one a keypoint.
        skeleton_link_colors: The same, one a link.
        flip_pairs: Pairs of keypoint indices that change places in a mirrored image.
    """

    dataset_name: str = ""
    keypoint_names: tuple[str, ...] = ()
    skeleton_links: tuple[tuple[int, ...], ...] = ()
    sigmas: tuple[float, ...] = ()
    keypoint_colors: tuple[tuple[int, ...], ...] = ()
    skeleton_link_colors: tuple[tuple[int, ...], ...] = ()
    flip_pairs: tuple[tuple[int, ...], ...] = ()


def dataset_meta(detail: Node) -> DatasetMeta:
    """The facts in `detail.json: $.posedeploy.dataset_meta`; empty in a folder of MMDeploy.

    Raises:
        BadInputError: They are there and have the wrong form.
    """
    if not detail.has("posedeploy") or not detail.at("posedeploy").has("dataset_meta"):
        return DatasetMeta()
    meta = detail.at("posedeploy").at("dataset_meta")

    def items(key: str) -> list[Node]:
        nodes = meta.at(key).items() if meta.has(key) else []
        if len(nodes) > MAX_KEYPOINTS:
            raise meta.at(key).error(f"at most {MAX_KEYPOINTS} entries", f"{len(nodes)} entries")
        return nodes

    names = tuple(item.is_a(str) for item in items("keypoint_names"))
    last = (len(names) or MAX_KEYPOINTS) - 1  # without names any number of keypoints

    def pairs(key: str) -> tuple[tuple[int, ...], ...]:
        expected = f"two keypoint indices from 0 to {last}"
        return tuple(item.integers(2, 0, last, expected) for item in items(key))

    def colors(key: str) -> tuple[tuple[int, ...], ...]:
        expected = "[red, green, blue], each from 0 to 255"
        return tuple(item.integers(3, 0, 255, expected) for item in items(key))

    return DatasetMeta(
        dataset_name=meta.get("dataset_name", str, ""),
        keypoint_names=names,
        skeleton_links=pairs("skeleton_links"),
        sigmas=tuple(float(item.is_a(float)) for item in items("sigmas")),
        keypoint_colors=colors("keypoint_colors"),
        skeleton_link_colors=colors("skeleton_link_colors"),
        flip_pairs=pairs("flip_pairs"),
    )
