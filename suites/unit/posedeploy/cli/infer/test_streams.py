"""Cameras and streams: their first frame, their loss, Ctrl-C, and what is written up to there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fixtures.cameras import SIZE, camera
from fixtures.commands import Done, film
from posedeploy.cli.infer.inference import Inference
from posedeploy.cli.infer.people import People, PeopleFinder
from posedeploy.cli.infer.reporters import JsonLines, Tally
from posedeploy.cli.infer.sources import Source, drawn_names, find_sources, public_name
from posedeploy.cli.infer.videos import Video
from posedeploy.cli.terminal import items_progress
from posedeploy.errors import UnavailableError
from posedeploy.sdk import DatasetMeta, Poses
from posedeploy.sdk.images import read_image
from posedeploy.synthetic.figures import draw_figure

Infer = Callable[..., Done]


def frames_in(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_a_stream_that_is_lost_leaves_a_whole_video(infer: Infer, tmp_path: Path) -> None:
    with camera(frames=12) as sender:
        done = infer(sender.url)
    (written,) = (tmp_path / "poses").iterdir()
    assert done.code == 1
    assert f"ended: {sender.url}: no more frames after 12 (" in done.out
    assert "the connection was lost, or the sender stopped. 1 person a frame" in done.out
    assert f"-> poses/{written.name}" in done.out
    assert frames_in(written) == 12


def test_each_frame_of_a_stream_is_a_line_with_its_time(infer: Infer) -> None:
    with camera(frames=5) as sender:
        done = infer(sender.url, "--json")
    lines = done.lines[1:]
    assert [line["kind"] for line in lines] == ["frame"] * 5 + ["video"]
    assert [line["frame"] for line in lines[:5]] == [0, 1, 2, 3, 4]
    times = [line["time"] for line in lines[:5]]
    assert times == sorted(times)
    assert times[0] == 0
    assert (lines[5]["lost"], lines[5]["dropped"], lines[5]["written"]) == (True, 0, None)


def test_a_file_has_the_times_of_its_frame_rate(infer: Infer, tmp_path: Path) -> None:
    film(tmp_path / "walk.avi", SIZE, frames=3, fps=20)
    assert [line["time"] for line in infer("walk.avi", "--json").lines[1:4]] == [0, 0.05, 0.1]


def test_a_named_pipe_ends_well(infer: Infer, tmp_path: Path) -> None:
    pipe = tmp_path / "cam.mjpeg"
    os.mkfifo(pipe)
    image = cv2.imencode(".jpg", draw_figure(1, SIZE)[0])[1].tobytes()

    def send() -> None:
        with pipe.open("wb") as file:
            file.write(image * 9)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    done = infer("cam.mjpeg", "--json", "--out=drawn")
    sender.join()
    assert (done.code, done.lines[-1]["frames"], done.lines[-1]["lost"]) == (0, 9, False)
    assert frames_in(tmp_path / done.lines[-1]["written"]) == 9


def test_a_stream_that_does_not_begin_is_unavailable(infer: Infer) -> None:
    with camera(status=404) as sender:
        done = infer(sender.url)
    assert done.code == 3
    assert f"error: stream {sender.url}" in done.err
    assert "which answers: a wrong path or password, or another format" in done.err
    done = infer(sender.url)
    assert (done.code, "no connection to 127.0.0.1:" in done.err) == (3, True)


@pytest.mark.parametrize("source", ["stream", "file"])
def test_ctrl_c_leaves_a_playable_file(source: str, sdk: Path, tmp_path: Path) -> None:
    # a suite that runs in a shell's background has children that ignore SIGINT
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from posedeploy.cli import main; main()"
    )
    film(tmp_path / "long.avi", SIZE, frames=400)
    with camera() as sender:
        word = sender.url if source == "stream" else "long.avi"
        options = ["--out=drawn", "--json", "--coco=results.json"]
        command = [sys.executable, "-c", program, "infer", str(sdk), word, *options]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert json.loads(child.stdout.readline())["kind"] == "model"
            for _ in range(3):
                assert json.loads(child.stdout.readline())["kind"] == "frame"
            os.kill(child.pid, signal.SIGINT)
            out, err = child.communicate(timeout=60)
    assert out, (child.returncode, err)
    last = json.loads(out.splitlines()[-1])
    assert (child.returncode, last["kind"], last["stopped"]) == (130, "video", True)
    assert "interrupted; nothing half-written" in err
    assert 3 <= last["frames"] < 400
    (written,) = (tmp_path / "drawn").iterdir()
    assert frames_in(written) == last["frames"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results) == last["frames"]


class Fake:
    """A capture that gives so many frames, each with its number in its first pixel."""

    def __init__(self, frames: int, pace: Callable[[int], None] = lambda _index: None) -> None:
        self.frames, self.pace, self.given = frames, pace, 0

    def get(self, name: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48}.get(name, -1)

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self.given == self.frames:
            return False, None
        self.pace(self.given)
        self.given += 1
        return True, np.full((48, 64, 3), self.given, np.uint8)

    def release(self) -> None:
        self.frames = self.given


class OnePerson:
    """A pose model that finds one person, after it was let."""

    def __init__(self, let: Callable[[int], None]) -> None:
        self.let = let

    def detect(self, img: np.ndarray, _boxes: object = None, /) -> Poses:
        self.let(int(img[0, 0, 0]))
        box, score = np.array([[1, 2, 30, 40]], np.float32), np.ones(1, np.float32)
        return Poses(np.ones((1, 17, 3), np.float32), box, score)


def test_with_live_frames_are_dropped_and_the_video_keeps_its_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, all_read = threading.Event(), threading.Event()

    def pace(index: int) -> None:
        if index == 1:
            begun.wait(10)
        if index == 19:
            all_read.set()

    def let(number: int) -> None:
        begun.set()
        if number == 1:
            all_read.wait(10)

    class Lines(JsonLines):
        def __init__(self) -> None:
            self.frames: list[int] = []
            self.dropped = -1

        def frame(self, source: Source, people: People) -> None:  # noqa: ARG002
            self.frames.append(people.index)

        def video(self, video: Video, tally: Tally, written: Path | None) -> None:  # noqa: ARG002
            self.dropped = tally.dropped

    monkeypatch.setattr(cv2, "VideoCapture", lambda: Fake(20, pace))
    monkeypatch.setattr(Fake, "open", lambda *_: True, raising=False)
    lines, source = Lines(), Source(Path("camera_0"), True, True, address=0)
    finder = PeopleFinder(OnePerson(let), lambda *_: None)
    inference = Inference(read_image, finder, DatasetMeta(), [lines], tmp_path, live=True)
    assert not inference.run(source, "drawn.mp4", items_progress(as_json=True))
    monkeypatch.undo()
    assert lines.frames[0] == 0
    assert lines.frames[-1] in {18, 19}
    assert lines.dropped == 20 - (19 - lines.frames[-1]) - len(lines.frames) >= 10
    assert frames_in(tmp_path / "drawn.mp4") == lines.frames[-1] + 1


def test_what_is_a_camera_or_a_stream() -> None:
    words = ["0", "/dev/video1", "rtsp://me:secret@cam/1?a", "https://host/live.m3u8"]
    found = find_sources(words).sources
    assert [s.address for s in found] == [0, *words[1:]]
    names = ["camera 0", "/dev/video1", "rtsp://cam/1?a", "https://host/live.m3u8"]
    assert [source.name for source in found] == names
    assert drawn_names(found)[2] == "rtsp_cam_1_poses.mp4"
    assert public_name("pipe") == "pipe"


def test_large_frames_do_not_wait_in_number() -> None:
    video = Video("v", "v", Fake(0), lambda: UnavailableError("", "", "", ""))  # type: ignore[arg-type]
    expected = {(1280, 720): 4, (3840, 2160): 2, (10_000, 10_000): 0, (0, 0): 4}
    for size, ahead in expected.items():
        video.size = size
        assert video.ahead == ahead
    video.read_header()
    assert (video.size, video.fps, video.declared) == ((64, 48), 25.0, 0)
