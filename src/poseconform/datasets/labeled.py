"""A labeled data set: images, boxes, and ground truth in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Image = NDArray[np.uint8]
PERSON = 1  # COCO's category


@dataclass(frozen=True)
class LabeledImage:
    """One image, and the people with joints in it, in image px."""

    id: int
    source: Path | Image  # the file, or the pixels [H, W, 3], BGR
    boxes: NDArray[np.float32]  # [P, 4] left, top, right, bottom
    keypoints: NDArray[np.float64]  # [P, 17, 3] x, y, COCO's visibility (0: not labeled)

    def pixels(self) -> Image:
        """The image; raises `FileNotFoundError` where there is no file, or it is no image."""
        if not isinstance(self.source, Path):
            return self.source
        import cv2

        content = np.fromfile(self.source, np.uint8)  # `cv2.imread` takes names of UTF-8 alone
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        if image is None:
            raise FileNotFoundError(f"{self.source}: no such image, or not a whole one")
        return image  # type: ignore[return-value]


@dataclass(frozen=True)
class DataSet:
    """Images with their ground truth in COCO's keypoint format."""

    name: str
    key: str  # unique, for caches
    images: tuple[LabeledImage, ...]
    ground_truth: Mapping[str, Any]


def from_people(
    name: str, key: str, people: Sequence[tuple[Image, NDArray[Any], NDArray[Any]]]
) -> DataSet:
    """A data set of images in memory (pixels, boxes `[P, 4]`, keypoints `[P, 17, 2]`)."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, (image, boxes, keypoints) in enumerate(people, 1):
        height, width = image.shape[:2]
        images.append({"id": i, "width": width, "height": height, "file_name": f"{i}.png"})
        for box, points in zip(boxes, keypoints, strict=True):
            annotations.append(_annotation(len(annotations) + 1, i, box, points))
    sources = {i: image for i, (image, _, _) in enumerate(people, 1)}
    return from_coco_dict(name, key, {"images": images, "annotations": annotations}, sources)


def _annotation(number: int, image_id: int, box: Any, points: Any) -> dict[str, Any]:
    left, top, right, bottom = (float(v) for v in box)
    triples = np.hstack([np.asarray(points, float), np.full((len(points), 1), 2.0)])
    size = [right - left, bottom - top]
    return {
        "id": number, "image_id": image_id, "category_id": PERSON, "iscrowd": 0,
        "bbox": [left, top, *size], "area": size[0] * size[1] * 0.53,  # a person fills about half
        "num_keypoints": len(points), "keypoints": triples.ravel().tolist(),
    }  # fmt: skip


def from_coco_dict(
    name: str, key: str, content: Mapping[str, Any], sources: Mapping[int, Path | Image]
) -> DataSet:
    """A data set from COCO's keypoint format, of the images that `sources` has by their id.

    Crowds and people without joints stay in the ground truth, where COCO's metric ignores them,
    and are not among the images' people.
    """
    images = [image for image in content["images"] if image["id"] in sources]
    annotations = [a for a in content["annotations"] if a["image_id"] in sources]
    by_image: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in images}
    for annotation in annotations:
        if annotation.get("num_keypoints", 0) > 0 and not annotation.get("iscrowd", 0):
            by_image[annotation["image_id"]].append(annotation)
    truth = {
        "info": {}, "images": images, "annotations": annotations,
        "categories": [{"id": PERSON, "name": "person"}],
    }  # fmt: skip
    labeled = []
    for image_id, people in by_image.items():
        boxes = np.array([person["bbox"] for person in people], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        keypoints = np.array([p["keypoints"] for p in people], np.float64).reshape(-1, 17, 3)
        labeled.append(
            LabeledImage(image_id, sources[image_id], boxes.astype(np.float32), keypoints)
        )
    return DataSet(name, key, tuple(labeled), truth)


def read_coco(root: Path, split: str = "val2017", most: int = 0) -> DataSet:
    """COCO's keypoint annotations as its makers distribute them.

    Only the first `most` images with people are taken; 0 takes all. A file or folder that is not
    there, or not in this format, raises `pytest.UsageError`.
    """
    file, folder = root / "annotations" / f"person_keypoints_{split}.json", root / split
    for path in (file, folder):
        if not path.exists():
            raise pytest.UsageError(
                f"--data-root {root}: found no {path.relative_to(root)}; expected COCO's folders, "
                f"annotations/person_keypoints_{split}.json and {split}/. Unpack COCO's {split} "
                "images and annotations there."
            )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        labeled = {a["image_id"] for a in content["annotations"] if a["num_keypoints"] > 0}
        images = [i for i in content["images"] if i["id"] in labeled][: most or None]
        sources = {i["id"]: folder / i["file_name"] for i in images}
    except (ValueError, KeyError, TypeError) as error:
        raise pytest.UsageError(
            f"{file}: found {type(error).__name__} {error}; expected COCO's keypoint annotations "
            "with images and annotations. Unpack it again."
        ) from error
    return from_coco_dict(f"coco {split}", f"{file.resolve()}:{most}", content, sources)
