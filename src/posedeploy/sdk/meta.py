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
    skeleton_links: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    keypoint_colors: tuple[tuple[int, int, int], ...] = ()
    skeleton_link_colors: tuple[tuple[int, int, int], ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()


def _list(meta: Node, key: str) -> list[Node]:
    items = meta.at(key).items() if meta.has(key) else []
    if len(items) > MAX_KEYPOINTS:
        raise meta.at(key).error(f"at most {MAX_KEYPOINTS} entries", f"{len(items)} entries")
    return items


def _pairs(meta: Node, key: str, count: int) -> tuple[tuple[int, int], ...]:
    """Pairs of indices below `count` (any, where the number of keypoints is not known)."""
    pairs = []
    for item in _list(meta, key):
        ends = [end.is_a(int) for end in item.items()]
        if len(ends) != 2 or not all(0 <= end < (count or MAX_KEYPOINTS) for end in ends):
            raise item.error(f"two keypoint indices from 0 to {(count or MAX_KEYPOINTS) - 1}")
        pairs.append((ends[0], ends[1]))
    return tuple(pairs)


def _colors(meta: Node, key: str) -> tuple[tuple[int, int, int], ...]:
    colors = []
    for item in _list(meta, key):
        parts = [part.is_a(int) for part in item.items()]
        if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
            raise item.error("[red, green, blue], each from 0 to 255")
        colors.append((parts[0], parts[1], parts[2]))
    return tuple(colors)


def dataset_meta(detail: Node) -> DatasetMeta:
    """The data set's facts in `detail.json: $.posedeploy.dataset_meta`.

    A folder without them (one that MMDeploy made) gives an empty `DatasetMeta`.

    Raises:
        BadInputError: They are there and have the wrong form.
    """
    if not detail.has("posedeploy") or not detail.at("posedeploy").has("dataset_meta"):
        return DatasetMeta()
    meta = detail.at("posedeploy").at("dataset_meta")
    names = tuple(item.is_a(str) for item in _list(meta, "keypoint_names"))
    return DatasetMeta(
        dataset_name=meta.get("dataset_name", str, ""),
        keypoint_names=names,
        skeleton_links=_pairs(meta, "skeleton_links", len(names)),
        sigmas=tuple(float(item.is_a(float)) for item in _list(meta, "sigmas")),
        keypoint_colors=_colors(meta, "keypoint_colors"),
        skeleton_link_colors=_colors(meta, "skeleton_link_colors"),
        flip_pairs=_pairs(meta, "flip_pairs", len(names)),
    )
