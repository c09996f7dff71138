"""`--track`: identities in lines and drawings, with a pose model and a detector that are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike

from fixtures.commands import film
from posedeploy.cli.infer.inference import Inference
from posedeploy.cli.infer.options import Options
from posedeploy.cli.infer.people import BoxSource, PeopleFinder
from posedeploy.cli.infer.reporters import JsonLines
from posedeploy.cli.infer.sources import Source
from posedeploy.cli.terminal import items_progress
from posedeploy.sdk import Boxes, DatasetMeta, Poses
from posedeploy.sdk.drawing import CLASS_COLORS, draw_poses
from posedeploy.sdk.images import Image

SIZE = (320, 144)
PLACES = np.random.default_rng(3).random((17, 2)).astype(np.float32)


def truth(frame: int) -> np.ndarray:
    """Boxes of two people in a frame: one walks, the other stands, and is first in odd frames."""
    rows = np.array([[20 + 2 * frame, 20, 70 + 2 * frame, 130], [220, 20, 270, 130]], np.float32)
    return rows[:: -1 if frame % 2 else 1]


class Joints:
    """A pose model that finds the joints of the person next to the middle of each box."""

    def __init__(self, frames: int) -> None:
        self.frames = frames  # of a video
        self.boxes: list[int] = []  # of each call; there is one a frame

    def detect(self, _img: Image, bboxes: ArrayLike | None = None, /) -> Poses:
        boxes = np.asarray(bboxes, np.float32).reshape(-1, 4)
        people = truth(len(self.boxes) % self.frames)
        self.boxes.append(len(boxes))
        apart = np.abs(boxes[:, None, :].sum(-1) - people[None].sum(-1))
        people = people[apart.argmin(axis=1)]
        points = people[:, None, :2] + PLACES * (people[:, None, 2:] - people[:, None, :2])
        scores = np.full((len(boxes), 17, 1), 0.9, np.float32)
        keypoints = np.concatenate([points, scores], axis=-1)
        return Poses(keypoints, boxes, np.ones(len(boxes), np.float32))


def two_people(asked: list[int]) -> BoxSource:
    """A source of boxes, which notes the frames that it was asked for."""

    def boxes(_source: Source, _image: Image, frame: int | None) -> Boxes:
        assert frame is not None
        asked.append(frame)
        return Boxes(truth(frame), np.array([0.9, 0.8], np.float32), np.array([0, 3]))

    return boxes


def run(
    folder: Path, options: Options, capsys: pytest.CaptureFixture[str], names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[int], Joints]:
    asked, pose = list[int](), Joints(8)
    finder = PeopleFinder(pose, two_people(asked), tracking=options.tracking)
    meta = DatasetMeta()
    inference = Inference(lambda _: _, finder, meta, [JsonLines()], folder)  # type: ignore[arg-type,return-value]
    for name in names:
        path = film(folder / f"{name}.avi", SIZE, frames=8)
        source = Source(path, is_video=True, alone=True)
        assert inference.run(source, f"{name}.mp4", items_progress(as_json=True))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()], asked, pose


def test_people_keep_their_identity_and_another_video_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, asked, _ = run(tmp_path, Options(track=True), capsys, ["one", "two"])
    assert asked == [*range(8), *range(8)]
    for video in (lines[:9], lines[9:]):
        found = [{p["identity"]: p["box"][0] for p in line["people"]} for line in video[:8]]
        (walking, standing) = (
            found[0] if found[0][next(iter(found[0]))] < 100 else [*found[0]][::-1]
        )
        for index, people in enumerate(found):
            assert set(people) == {walking, standing}
            assert people[walking] == pytest.approx(20 + 2 * index, abs=1)
        assert video[8]["identities"] == 2
    assert frames_of(tmp_path / "one.mp4") == 8


def test_the_detector_runs_on_every_nth_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(track=True, det_every=4, detector=Path("det"))
    lines, asked, pose = run(tmp_path, options, capsys, ["one"])
    assert asked == [0, 4]
    assert pose.boxes[1:4] == [2] * 3  # around keypoints
    assert {len(line["people"]) for line in lines[:8]} == {2}


def test_the_color_of_a_person_is_the_identitys() -> None:
    image, meta = np.zeros((800, 800, 3), np.uint8), DatasetMeta(skeleton_links=((0, 1),))
    points = np.array([[[100, 99, 1], [100, 400, 1]], [[500, 99, 1], [500, 400, 1]]], np.float32)
    drawn = draw_poses(image, points, meta, identities=np.array([9, 1]))
    for identity, column in ((9, 100), (1, 500)):
        red, green, blue = CLASS_COLORS[identity % len(CLASS_COLORS)]
        assert drawn[250, column].tolist() == [blue, green, red]
        assert drawn[:90, column - 20 : column + 20].any()  # its number, above the head
    assert not np.array_equal(drawn, draw_poses(image, points, meta))


def frames_of(path: Path) -> int:
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))
