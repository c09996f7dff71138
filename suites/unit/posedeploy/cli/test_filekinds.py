"""What a file is, by its first bytes or by its suffix."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from fixtures.commands import film
from posedeploy.cli.filekinds import (
    check_images,
    check_no_stream,
    is_image_or_video,
    is_video,
    live_address,
)
from posedeploy.errors import BadInputError

IMAGE, VIDEO, NEITHER = "image", "video", "neither"
PACKET = b"G" + bytes(187)


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, np.full((48, 64, 3), 90, np.uint8))[1])


# fmt: off
KINDS: dict[str, tuple[bytes, str]] = {
    "photo.bin":   (encoded(".jpg"), IMAGE),
    "photo":       (encoded(".png"), IMAGE),
    "photo.mp4":   (encoded(".png"), IMAGE),
    "still.gif":   (encoded(".gif"), IMAGE),
    "scan.dat":    (encoded(".bmp"), IMAGE),
    "color.dat":   (encoded(".ppm"), IMAGE),
    "phone.heic":  (b"\0\0\0\x18ftypheic" + bytes(20), IMAGE),
    "photo.avif":  (b"\0\0\0\x18ftypavif" + bytes(20), IMAGE),
    "cut.jpg":     (b"", IMAGE),
    "clip.bin":    (b"\0\0\0\x18ftypisom" + bytes(20), VIDEO),
    "old.qt":      (struct.pack(">I", 5_000_000) + b"mdat" + bytes(20), VIDEO),
    "clip.jpg":    (b"\x1a\x45\xdf\xa3" + bytes(20), VIDEO),
    "clip.ts":     (PACKET * 3, VIDEO),
    "clip.m2ts":   ((bytes(4) + PACKET) * 3, VIDEO),
    "clip.y4m":    (b"YUV4MPEG2 W96 H64", VIDEO),
    "cut.mov":     (b"", VIDEO),
    "notes.txt":   (b"no image", NEITHER),
    "bmi.csv":     (b"BMI,weight,height of everybody", NEITHER),
    "people.csv":  (b"P1,left,right", NEITHER),
    "people.txt":  (b"P1 is on the left", NEITHER),
    "todo.txt":    (b"The wide lens", NEITHER),
    "games.txt":   (b"G" * 600, VIDEO),  # nobody's text, and a valid stream of packets
    "labels.json": (b"{}", NEITHER),
    "model.onnx":  (b"\x08\x0a\x12\x07pytorch", NEITHER),
    "model.pth":   (b"PK\x03\x04" + bytes(50), NEITHER),
}
# fmt: on


@pytest.mark.parametrize("name", KINDS)
def test_the_content_decides_and_then_the_suffix(name: str, tmp_path: Path) -> None:
    content, kind = KINDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert (is_image_or_video(path), is_video(path)) == (kind != NEITHER, kind == VIDEO)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.flv", "FLV1"), ("a.mkv", "mp4v"), ("a.wmv", "WMV2")]
)
def test_what_opencv_writes_is_a_video_under_any_name(
    name: str, codec: str, tmp_path: Path
) -> None:
    path = film(tmp_path / name, (96, 64), codec=codec).rename(tmp_path / "camera.dav")
    assert is_video(path)
    with pytest.raises(BadInputError, match=r"a video \(.*ffmpeg -i .*camera\.dav -frames:v 1"):
        check_images([path])


@pytest.mark.parametrize(
    ("word", "found", "command"),
    [
        ("3", "number of a camera", "ffmpeg -f v4l2 -i /dev/video3 -t 10 clip.mp4"),
        ("/dev/video1", "a device", "ffmpeg -f v4l2 -i /dev/video1 -t 10 clip.mp4"),
        ("rtsp://u:p@cam/1?a&b", "a stream", "ffmpeg -i 'rtsp://u:p@cam/1?a&b' -t 10"),
        ("rtmp:/host/live", "a stream", "ffmpeg -i rtmp://host/live -t 10"),
        ("https://host/live.m3u8?key=1", "a stream", "ffmpeg -i 'https://host/live.m3u8?key=1'"),
        ("HTTP://host/a.jpg", "a file", "curl --fail --location --remote-name HTTP://host/a.jpg"),
    ],
)
def test_what_names_no_file(word: str, found: str, command: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check_no_stream(word)
    assert found in caught.value.found
    assert command in caught.value.next_step


@pytest.mark.parametrize("word", ["photo.jpg", "3.jpg", "C:/a.jpg", "a:b.jpg", "dev/video0", ""])
def test_other_words_may_be_files(word: str) -> None:
    check_no_stream(word)


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("0", 0), ("/dev/video3", "/dev/video3"), ("rtsp:/host/1", "rtsp://host/1"),
        ("http://host/live", "http://host/live"), ("http://host/a.jpg?b", None),
        ("00012", None), ("/dev/null", None), ("a:b.jpg", None), ("photo.jpg", None), ("", None),
    ],
)  # fmt: skip
def test_what_is_live(word: str, address: str | int | None) -> None:
    assert live_address(word) == address


def test_an_image_passes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png"))
    check_images([tmp_path / "a.png", tmp_path / "not-there.png"])
