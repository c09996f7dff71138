"""`posedeploy infer`: what it finds, draws and says, of images and of videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fixtures.commands import Done, film
from posedeploy.cli import main
from posedeploy.cli.infer.inference import Inference
from posedeploy.cli.infer.people import PeopleFinder
from posedeploy.cli.infer.reporters import JsonLines
from posedeploy.cli.infer.sources import Source, drawn_names, find_sources
from posedeploy.cli.infer.videos import (
    DEFAULT_FPS,
    frame_rate,
    open_video,
    write_video,
)
from posedeploy.cli.terminal import SpeedColumn, items_progress, to_json
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.paths import whole_file
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.drawing import draw_poses
from posedeploy.sdk.images import write_image
from posedeploy.sdk.windows import check_windows, why_no_windows
from posedeploy.synthetic.figures import draw_figure

SIZE = (96, 144)  # as high and wide as the model's input, so that keypoints lie inside


Infer = Callable[..., Done]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with one image in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    cv2.imwrite(str(tmp_path / "photo.png"), draw_figure(3, SIZE)[0])
    return tmp_path


@pytest.fixture
def sdk(tiny_sdk: Callable[[str], Path]) -> Path:
    return tiny_sdk("rtmpose_t")


@pytest.fixture
def infer(here: Path, sdk: Path, capsys: pytest.CaptureFixture[str]) -> Infer:
    def run(*words: object, model: Path = sdk) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(["infer", str(model), *map(str, words)])
        out, err = capsys.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return run


def frames_of(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_an_image_is_drawn_on_and_reported(infer: Infer, here: Path) -> None:
    done = infer("photo.png")
    assert done.code == 0, done
    assert "sdk: onnxruntime fp32, input 64x96 px" in done.out
    assert "photo.png: 1 person (the whole image as one box), 17 of 17 keypoints" in done.out
    assert "-> poses/photo_poses.png" in done.out
    drawn = read(here / "poses" / "photo_poses.png")
    assert drawn.shape == (*SIZE[::-1], 3)
    assert not np.array_equal(drawn, read(here / "photo.png"))
    assert [path.name for path in (here / "poses").iterdir()] == ["photo_poses.png"]


def test_json_lines_are_the_detectors_keypoints(infer: Infer, here: Path, sdk: Path) -> None:
    boxes = [[10.0, 5.0, 70.0, 85.0], [40.0, 0.5, 95.0, 90.0]]
    options = [f"--bbox={','.join(map(str, box))}" for box in boxes]
    done = infer("photo.png", "--json", *options)
    model, image = done.lines
    assert (model["kind"], model["backend"], model["top_down"]) == ("model", "onnxruntime", True)
    assert model["keypoint_names"][0] == "nose"
    assert (image["source"], image["written"]) == ("photo.png", None)
    found = PoseDetector(sdk)(read(here / "photo.png"), boxes)
    printed = np.array([person["keypoints"] for person in image["people"]], np.float32)
    np.testing.assert_array_equal(printed, found)
    assert [person["box"] for person in image["people"]] == boxes
    assert {path.name for path in here.iterdir()} == {"photo.png"}


def test_a_model_that_finds_people_itself_takes_no_boxes(
    infer: Infer, tiny_sdk: Callable[[str], Path]
) -> None:
    done = infer("photo.png", "--json", model=tiny_sdk("yoloxpose_tiny"))
    assert done.code == 0
    assert done.lines[0]["top_down"] is False
    assert len(done.lines[1]["people"]) >= 1
    refused = infer("photo.png", "--bbox=1,2,30,40", model=tiny_sdk("yoloxpose_tiny"))
    assert refused.code == 2


def test_a_person_of_several_classes_has_its_label(
    infer: Infer, here: Path, tiny_sdk: Callable[[str], Path]
) -> None:
    folder = tiny_sdk("yoloxpose_tiny/2")
    model, image = infer("photo.png", "--json", "--out=drawn", model=folder).lines
    assert model["class_names"] == ["cat", "dog"]
    found = PoseDetector(folder).detect(read(here / "photo.png"))
    assert found.labels is not None
    assert [person["label"] for person in image["people"]] == found.labels.tolist()
    assert set(found.labels.tolist()) == {0, 1}
    meta = PoseDetector(folder).dataset_meta
    nameless = draw_poses(read(here / "photo.png"), found.keypoints, meta, 0.3)
    assert not np.array_equal(read(here / "drawn" / "photo_poses.png"), nameless)

    model, image = infer("photo.png", "--json", model=tiny_sdk("yoloxpose_tiny")).lines
    assert "class_names" not in model
    assert not [person for person in image["people"] if "label" in person]


def test_a_person_has_visibilities_where_the_model_tells_them(
    infer: Infer, here: Path, tiny_sdk: Callable[[str], Path]
) -> None:
    folder = tiny_sdk("vis_res50")
    _, image = infer("photo.png", "--json", model=folder).lines
    found = PoseDetector(folder).detect(read(here / "photo.png"))
    assert found.visible is not None
    assert [person["visible"] for person in image["people"]] == found.visible.tolist()


def test_scores_below_the_limit_are_reported(infer: Infer) -> None:
    done = infer("photo.png", "--min-score=1000")
    assert "0 of 17 keypoints with a score from 1000; the best is" in done.out
    assert "lower --min-score" in done.out


def test_folders_and_patterns_leave_out_and_report_what_is_no_image(
    infer: Infer, here: Path
) -> None:
    more = here / "more"
    more.mkdir()
    for name in ("b.png", "a.png"):
        cv2.imwrite(str(more / name), draw_figure(4, SIZE)[0])
    (more / "broken.jpg").write_text("no image")
    (more / "notes.txt").write_text("not asked for")
    done = infer("more", "more/*.png", "--out=drawn", "--json")
    assert done.code == 1
    kinds = [(line["kind"], Path(line.get("source", "-")).name) for line in done.lines[1:]]
    assert kinds == [("image", "a.png"), ("image", "b.png"), ("unreadable", "broken.jpg")]
    assert {p.name for p in (here / "drawn").iterdir()} == {"a_poses.png", "b_poses.png"}
    printed = "left out: broken.jpg: a text file of 8 bytes that OpenCV cannot read"
    assert printed in infer("more").out


def test_a_video_is_drawn_on_frame_by_frame(infer: Infer, here: Path) -> None:
    film(here / "walk.mp4", SIZE, frames=12, codec="mp4v", fps=20)
    done = infer("walk.mp4")
    assert done.code == 0, done
    assert "walk.mp4: 12 frames (0.6 s at 20 fps), 1 person a frame" in done.out
    drawn, frames = frames_of(here / "poses" / "walk_poses.mp4"), frames_of(here / "walk.mp4")
    assert len(drawn) == 12
    differences = [np.abs(a.astype(int) - b).max() for a, b in zip(drawn, frames, strict=True)]
    assert min(differences) > 100  # skeletons have colors of their own; compression has not


def test_frames_as_json_lines_are_the_detectors(infer: Infer, here: Path, sdk: Path) -> None:
    film(here / "walk.avi", SIZE, frames=3)
    lines = infer("walk.avi", "--json").lines[1:]
    assert [line["kind"] for line in lines] == ["frame", "frame", "frame", "video"]
    assert [line["frame"] for line in lines[:3]] == [0, 1, 2]
    detector = PoseDetector(sdk)
    for line, frame in zip(lines, frames_of(here / "walk.avi"), strict=False):
        printed = np.array(line["people"][0]["keypoints"], np.float32)
        np.testing.assert_array_equal(printed, detector(frame)[0])
    assert (lines[3]["frames"], lines[3]["declared"], lines[3]["truncated"]) == (3, 3, False)


def test_of_a_truncated_video_all_that_is_there_is_drawn(infer: Infer, here: Path) -> None:
    whole = film(here / "walk.avi", SIZE, frames=40).read_bytes()
    (here / "walk.avi").write_bytes(whole[: len(whole) * 3 // 4])
    done = infer("walk.avi")
    assert done.code == 1
    assert "truncated: walk.avi: " in done.out
    count = len(frames_of(here / "poses" / "walk_poses.mp4"))
    assert 20 < count < 40
    assert f"{count} of the 40 frames that the file promises" in done.out
    assert infer("walk.avi", "--json").lines[-1]["truncated"] is True


@pytest.mark.parametrize(
    ("name", "content", "printed"),
    [
        ("cut.mp4", None, "without an index (moov)"),
        ("noise.avi", bytes(range(256)) * 20, "does not begin as a video does"),
        ("empty.mp4", b"", "an empty file"),
        ("odd.mov", b"\0\0\0\1moov\0\0\0\0\0\0\0\x10\0\0\0\0free", "no codec for it here"),
    ],
)
def test_a_video_without_a_frame_is_refused_with_the_reason(
    infer: Infer, here: Path, name: str, content: bytes | None, printed: str
) -> None:
    whole = film(here / "whole.mp4", SIZE, frames=12, codec="mp4v").read_bytes()
    (here / name).write_bytes(whole[:3000] if content is None else content)
    done = infer(name)
    assert done.code == 2
    assert printed in done.err
    assert list((here / "poses").iterdir()) == []


def test_frames_of_another_size_are_fitted_and_a_failure_leaves_nothing(here: Path) -> None:
    with write_video(here / "made.mp4", 25.0) as write:
        for size in (SIZE, (60, 60)):
            write(draw_figure(1, size)[0])
    assert [frame.shape for frame in frames_of(here / "made.mp4")] == [(144, 96, 3)] * 2
    before = set(here.iterdir())

    def interrupted() -> None:
        with write_video(here / "half.mp4", 25.0) as write:
            write(draw_figure(1, SIZE)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(here.iterdir()) == before


def test_an_opencv_without_the_codec_is_an_error(here: Path) -> None:
    with (
        pytest.raises(UnavailableError, match="cannot write zzzz"),
        write_video(here / "made.mp4", 25.0, "zzzz") as write,
    ):
        write(draw_figure(1, SIZE)[0])
    assert not (here / "made.mp4").exists()


def test_a_file_without_a_frame_rate_gets_one(here: Path) -> None:
    with open_video(film(here / "walk.avi", SIZE, frames=2, fps=20)) as video:
        assert video.fps == 20.0
    for declared in (0.0, -1.0, float("nan"), 90_000.0):
        assert frame_rate(declared) == DEFAULT_FPS


@pytest.mark.parametrize("frames", [1, 2])
def test_windows_show_what_is_drawn_until_the_user_stops(
    here: Path, sdk: Path, frames: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[np.ndarray] = []

    def show(_title: str, image: np.ndarray, milliseconds: int) -> bool:
        shown.append(image.copy())
        assert milliseconds == 40
        return len(shown) < frames

    path = film(here / "walk.avi", SIZE, frames=12)
    pose = PoseDetector(sdk)
    finder = PeopleFinder(pose, lambda *_: None)
    inference = Inference(pose.read, finder, pose.dataset_meta, [JsonLines()], show=show)
    source = Source(path, is_video=True, alone=True)
    assert inference.run(source, "", items_progress(as_json=True))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (len(shown), last["frames"], last["truncated"]) == (frames, frames, False)
    assert not (here / "poses").exists()
    assert not np.array_equal(shown[0], frames_of(path)[0])


WINDOWS = {
    "a display": ({"DISPLAY": ":0"}, "linux", "  GUI:  QT5\n", ""),
    "wayland": ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", "  GUI:  GTK3\n", ""),
    "macOS needs no variable": ({}, "darwin", "  GUI:  COCOA\n", ""),
    "no display": ({}, "linux", "  GUI:  QT5\n", "no display"),
    "headless": ({"DISPLAY": ":0"}, "linux", "  GUI:   NONE\n", "built without windows"),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_why_there_are_no_windows(case: str) -> None:
    environment, platform, build, printed = WINDOWS[case]
    reason = why_no_windows(environment, platform, build)
    assert (printed in reason) if printed else (reason == "")
    if printed:
        with pytest.raises(UnavailableError, match="Look elsewhere"):
            check_windows("Look elsewhere.", reason=reason)
    else:
        check_windows("Look elsewhere.", reason=reason)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "5,5,5,9", "", "1,2,3,4,5"])
def test_boxes_that_are_none(infer: Infer, text: str) -> None:
    done = infer("photo.png", f"--bbox={text}")
    assert done.code == 2
    assert "error: --bbox" in done.err


@pytest.mark.parametrize(
    ("device", "code"), [("cpu", 0), ("cpu:0", 0), ("cuda:x", 2), ("vulkan", 2)]
)
def test_devices(infer: Infer, device: str, code: int) -> None:
    assert infer("photo.png", f"--device={device}").code == code


def test_a_place_that_cannot_be_written_to(infer: Infer, here: Path) -> None:
    (here / "taken").write_text("a file")
    done = infer("photo.png", "--out=taken")
    assert done.code == 2
    assert "error: --out taken" in done.err


def test_names_differ_and_are_no_sources_own() -> None:
    paths = ["a/x.jpg", "b/x.jpg", "x.mov", "c/x.JPG", "x.gif"]
    names = drawn_names([Source(Path(p), p.endswith("mov"), alone=True) for p in paths])
    assert names == [
        "x_poses.jpg",
        "x_poses_2.jpg",
        "x_poses.mp4",
        "x_poses_3.jpg",
        "x_poses_4.jpg",
    ]


def test_a_source_that_is_named_twice_is_done_once(here: Path) -> None:
    found = find_sources(["photo.png", ".", "*.png"]).sources
    assert [(source.path.name, source.alone) for source in found] == [("photo.png", True)]
    with pytest.raises(BadInputError, match="no image or video"):
        find_sources(["*.jpg"])


def test_a_file_is_whole_or_not_there(here: Path) -> None:
    def interrupted() -> None:
        with whole_file(here / "made.txt") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(BadInputError, match=r"cannot write \.gibberish"):
        write_image(here / "made.gibberish", np.zeros((4, 4, 3), np.uint8))
    assert {path.name for path in here.iterdir()} == {"photo.png"}


def test_json_has_null_for_what_is_no_number() -> None:
    assert to_json({"a": [1.5, float("nan")], "b": (float("inf"), 2)}) == (
        '{"a": [1.5, null], "b": [null, 2]}'
    )


def test_progress_counts_and_stays_off_json() -> None:
    with items_progress(as_json=False) as progress:
        assert progress.disable  # no terminal here
        task = progress.add_task("walk.mp4", total=4)
        assert SpeedColumn().render(progress.tasks[0]).plain == ""
        progress.update(task, completed=4)
    assert items_progress(as_json=True).console.stderr
