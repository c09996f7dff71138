"""Boxes that the user gives: `--bbox`, the same for all, and `--boxes`, a file with those of each.

A file is COCO's results of detection (a list), a data set in COCO's format (an object with images
and annotations), or what `posedeploy infer --json` has printed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from posedeploy.cli.infer.sources import Source
from posedeploy.errors import BadInputError
from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.images import Image
from posedeploy.sdk.poses import as_boxes

_FORMATS = "COCO's results of detection, or the lines of posedeploy infer --json"
_NAMED = 3  # sources that a message names
# Of COCO's results, which list boxes down to a score of 0.001; mmpose's demos have the same
# default (`--bbox-thr`, mmpose 1.3.2, demo/topdown_demo_with_mmdet.py).
COCO_SCORE = 0.3

Key = tuple[str | int, int | None]  # name, path or number of an image or a video; frame


def parse_box(text: str) -> list[float]:
    """`[left, top, right, bottom]` in image px.

    Raises:
        BadInputError: Not four numbers, or a box without an area.
    """
    expected = "left,top,right,bottom in image px, right beyond left and bottom beyond top"
    next_step = "Write it as --bbox 20,30,480,600, with commas and no spaces."
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInputError("--bbox", text, expected, next_step) from error
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise BadInputError("--bbox", text, expected, next_step)
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        raise BadInputError("--bbox", text, expected, _box_advice(box))
    if max(map(abs, box)) <= 1:
        raise BadInputError(
            "--bbox", f"{text}, a box of at most 1 px", expected,
            "If these are parts of the image's sides, multiply them by its width and height.",
        )  # fmt: skip
    return box


def _box_advice(box: list[float]) -> str:
    """What a box without an area may have meant."""
    left, top, width, height = box
    if width > 0 and height > 0:
        corner = f"{left:g},{top:g},{left + width:g},{top + height:g}"
        swapped = f"; if its corners are swapped, {width:g},{height:g},{left:g},{top:g}"
        both = swapped if width < left and height < top else ""
        return f"If it was x,y,width,height, write {corner}{both}."
    return "For the whole image as one box, leave --bbox out."


def check_inside(boxes: Iterable[Sequence[float]], source: Source, image: Image) -> None:
    """Raise BadInputError for a box of `--bbox` that lies beside the image."""
    height, width = image.shape[:2]
    for left, top, right, bottom in boxes:
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            raise BadInputError(
                f"--bbox {left:g},{top:g},{right:g},{bottom:g}",
                f"a box outside {source.name}, which is {width}x{height} px",
                "a box that overlaps the image", "Measure it in px of the image itself.",
            )  # fmt: skip


@dataclass(frozen=True)
class BoxesFile:
    """The boxes of images, and of the frames of videos, that a file has."""

    path: Path
    names: Collection[str | int]  # of the images and videos in it, in its order
    boxes: Mapping[Key, Boxes]
    # width and height, px, of those images whose size it has
    sizes: Mapping[Key, tuple[int, int]] = field(default_factory=dict)

    def of(self, source: Source, image: Image, frame: int | None = None) -> Boxes:
        """The boxes of an image, or of a frame; none where the file has none.

        Raises:
            BadInputError: The file has them for an image of another size.
        """
        key = next((key for name in _names(source) if (key := (name, frame)) in self.boxes), None)
        if key is None:
            return Boxes(np.empty((0, 4), np.float32), np.empty(0, np.float32))
        height, width = image.shape[:2]
        size = self.sizes.get(key, (width, height))
        if size != (width, height):
            raise BadInputError(
                f"--boxes {self.path}",
                f"boxes of {source.name} at {size[0]}x{size[1]} px, which is {width}x{height} px",
                "boxes of the same image", "Find the boxes again, in this image.",
            )  # fmt: skip
        return self.boxes[key]

    def missing(self, sources: Sequence[Source]) -> list[Source]:
        """The sources that the file has no boxes of.

        Raises:
            BadInputError: It has them of none.
        """
        known = {name for name, _ in self.boxes}
        without = [source for source in sources if not known & set(_names(source))]
        if len(without) == len(sources):
            theirs, ours = _few(self.names), _few([source.name for source in sources])
            raise BadInputError(
                f"--boxes {self.path}",
                f"boxes of {len(self.names)} other images or videos ({theirs})",
                f"boxes of the {len(sources)} that are given ({ours})",
                "Check that the file belongs to them: names count, or the numbers in names.",
            )  # fmt: skip
        return without


def _few(names: Collection[str | int]) -> str:
    shown = ", ".join(str(name) for name, _ in zip(names, range(_NAMED), strict=False))
    return f"{shown}, …" if len(names) > _NAMED else shown


def _names(source: Source) -> Iterator[str | int]:
    """What a file may call a source: first what is exact."""
    yield source.shown
    yield source.path.name
    yield source.path.stem
    if source.path.stem.isdecimal():  # '000000000139.jpg' is COCO's image 139
        yield int(source.path.stem)


def read_boxes(
    path: Path, score_threshold: float | None = None, classes: Collection[int | str] | None = None
) -> BoxesFile:
    """Read a file of boxes.

    Args:
        path: The file.
        score_threshold: Lower scores are left out. None: `COCO_SCORE` for COCO's formats, nothing
            for our own lines.
        classes: Those that are taken, from 0: COCO's `category_id` less 1. None: 0, which is
            COCO's person, in COCO's formats, and all in our own lines.

    Raises:
        BadInputError: No such file, or none of the formats; an entry that is wrong is named.
    """
    subject = f"--boxes {path}"
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        found = error.strerror or str(error)
        raise BadInputError(subject, found, f"a file: {_FORMATS}", "Check the path.") from error
    rows = _Rows(subject)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list):
        limit, wanted = _or(score_threshold, COCO_SCORE), _or(classes, (0,))
        rows.coco(document, {})
    elif isinstance(document, dict) and "annotations" in document:
        limit, wanted = _or(score_threshold, COCO_SCORE), _or(classes, (0,))
        images = _field(document, "images", list, subject)
        rows.coco(document["annotations"], {image.get("id"): image for image in images})
    else:
        limit, wanted = _or(score_threshold, 0.0), classes
        rows.own(text.splitlines())
    return rows.file(path, limit, wanted)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _field(entry: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInputError(where, f"no usable {name!r} in it", _FORMATS, "Check the file.")
    return value


class _Rows:
    """The boxes of a file as they are read, by the image or the frame that they are of."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._rows: dict[Key, list[tuple[list[float], float, int]]] = {}
        self._sizes: dict[Key, tuple[int, int]] = {}
        self._labeled = False

    def coco(self, entries: Any, images: Mapping[Any, Any]) -> None:
        """COCO's results or annotations, and the images that their ids are of, if known."""
        self._labeled = True
        for image in images.values():
            self._rows.setdefault((_field(image, "file_name", str, self._subject), None), [])
        for number, entry in enumerate(entries if isinstance(entries, list) else [None]):
            where = f"{self._subject}, entry {number}"
            image_id = _field(entry, "image_id", (int, str), where)
            name = images[image_id]["file_name"] if image_id in images else image_id
            left, top, width, height = self._box(entry, "bbox", where)
            score = _field({"score": 1.0, **entry}, "score", (int, float), where)
            category = _field(entry, "category_id", int, where)
            row = ([left, top, left + width, top + height], float(score), category - 1)
            self._rows.setdefault((name, None), []).append(row)

    def own(self, lines: Iterable[str]) -> None:
        """Lines of `posedeploy infer --json`."""
        for number, line in enumerate(lines, 1):
            where = f"{self._subject}, line {number}"
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadInputError(where, f"no JSON: {error}", _FORMATS, "Check it.") from error
            if _field(entry, "kind", str, where) not in {"image", "frame"}:
                continue
            key = (_field(entry, "source", str, where), entry.get("frame"))
            sides = (_field(entry, side, int, where) for side in ("width", "height"))
            self._sizes[key] = next(sides), next(sides)
            self._rows[key] = []
            for person in _field(entry, "people", list, where):
                score = float(_field(person, "score", (int, float), where))
                self._labeled |= "label" in person
                row = (self._box(person, "box", where), score, person.get("label", 0))
                self._rows[key].append(row)

    def _box(self, entry: Any, name: str, where: str) -> list[float]:
        numbers = _four(_field(entry, name, list, where), where)
        return [float(number) for number in numbers]

    def file(
        self, path: Path, score_threshold: float, classes: Collection[int | str] | None
    ) -> BoxesFile:
        """What was read, also by the names of files without their folders."""
        labeled = self._labeled and (classes is None or len(classes) > 1)
        boxes: dict[Key, Boxes] = {}
        sizes: dict[Key, tuple[int, int]] = {}
        for (name, frame), rows in self._rows.items():
            kept = [
                row for row in rows
                if row[1] >= score_threshold and (classes is None or row[2] in classes)
            ]  # fmt: skip
            corners, scores, labels = zip(*kept, strict=True) if kept else ((), (), ())
            found = Boxes(
                np.array(corners, np.float32).reshape(-1, 4), np.array(scores, np.float32),
                np.array(labels, np.int64) if labeled else None,
            )  # fmt: skip
            for alias in {name, PurePath(name).name if isinstance(name, str) else name}:
                boxes.setdefault((alias, frame), found)
                if size := self._sizes.get((name, frame)):
                    sizes.setdefault((alias, frame), size)
        return BoxesFile(path, tuple(dict.fromkeys(n for n, _ in self._rows)), boxes, sizes)


def _four(numbers: Sequence[Any], where: str) -> Sequence[float]:
    """Four finite numbers; BadInputError names the entry of the file."""
    try:
        boxes = as_boxes(numbers)
    except BadInputError as error:
        raise BadInputError(where, error.found, error.expected, "Check the file.") from error
    if len(boxes) != 1:
        raise BadInputError(where, f"{len(numbers)} numbers", "a box of four", "Check the file.")
    return boxes[0].tolist()  # type: ignore[no-any-return]
