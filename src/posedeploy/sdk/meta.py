"""What a model's keypoints are called and how they connect: `detail.json: $.posedeploy`."""

from __future__ import annotations

from dataclasses import dataclass

from posedeploy.sdk.fields import Node

MAX_KEYPOINTS = 10_000


@dataclass(frozen=True)
class DatasetMeta:
    """Facts about the keypoints of a data set; each field may be empty."""

    dataset_name: str = ""  # e.g. 'coco'
    keypoint_names: tuple[str, ...] = ()  # in the order of the network's output
    skeleton_links: tuple[tuple[int, ...], ...] = ()  # pairs of keypoint indices
    sigmas: tuple[
        float, ...
    ] = ()  # COCO's constants of object keypoint similarity, one a keypoint
    keypoint_colors: tuple[tuple[int, ...], ...] = ()  # (red, green, blue), 0 to 255
    skeleton_link_colors: tuple[tuple[int, ...], ...] = ()  # likewise, one a link
    flip_pairs: tuple[tuple[int, ...], ...] = ()  # pairs that change places in a mirrored image
    class_names: tuple[str, ...] = ()  # of a model of several classes, in the order of its labels


def dataset_meta(detail: Node) -> DatasetMeta:
    """The facts in `detail.json: $.posedeploy.dataset_meta`; empty in a folder of MMDeploy."""
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

    def integers(key: str, count: int, high: int, expected: str) -> tuple[tuple[int, ...], ...]:
        return tuple(item.integers(count, 0, high, expected) for item in items(key))

    pair = (2, last, f"two keypoint indices from 0 to {last}")
    color = (3, 255, "[red, green, blue], each from 0 to 255")
    return DatasetMeta(
        dataset_name=meta.get("dataset_name", str, ""),
        keypoint_names=names,
        skeleton_links=integers("skeleton_links", *pair),
        sigmas=tuple(float(item.is_a(float)) for item in items("sigmas")),
        keypoint_colors=integers("keypoint_colors", *color),
        skeleton_link_colors=integers("skeleton_link_colors", *color),
        flip_pairs=integers("flip_pairs", *pair),
        class_names=tuple(item.is_a(str) for item in items("class_names")),
    )
