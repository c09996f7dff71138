"""Reading and writing images: bombs, odd names, odd files, all formats that OpenCV decodes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.image_headers import FORMATS, declared_size, ends_early
from posedeploy.sdk.images import MAX_PIXELS, MOST_PIXELS, check_image, read_image, write_image

SIZE = (96, 80)  # width, height, px: JPEG 2000 needs 64
ENCODED = {
    "AVIF": ".avif", "BMP": ".bmp", "GIF": ".gif", "HDR": ".hdr", "JPEG": ".jpg",
    "JPEG 2000": ".jp2", "Netpbm": ".ppm", "PAM": ".pam", "PFM": ".pfm", "PNG": ".png",
    "Sun raster": ".ras", "TIFF": ".tiff", "WebP": ".webp",
}  # fmt: skip
GIGANTIC = 2_000_000_000  # bytes that a process may have that meets a bomb


def encoded(suffix: str, size: tuple[int, int] = SIZE, options: tuple[int, ...] = ()) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    smooth = cv2.blur(pixels, (9, 9))
    smooth = smooth[..., :1] if suffix in {".pbm", ".pgm"} else smooth
    image = smooth.astype(np.float32) if suffix in {".hdr", ".pfm"} else smooth
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(width: int, height: int, rows: int) -> bytes:
    """A PNG file of one bit a pixel, with so many rows of zeros in it."""
    content = zlib.compress(bytes(1 + (width + 7) // 8) * rows, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(width: int, height: int, order: str = "<") -> bytes:
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    rows = (struct.pack(order + "HHII", tag, 4, 1, v) for tag, v in entries.items())
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "IH", 8, len(entries)) + b"".join(rows) + bytes(100)


def big_tiff(width: int, height: int) -> bytes:
    entries = {256: width, 257: height}
    rows = (struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in entries.items())
    return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2) + b"".join(rows) + bytes(100)


def patched(suffix: str, before: bytes, layout: str, side: int, skip: int = 0) -> bytes:
    """An image whose header declares a square of that side instead, after the bytes `before`."""
    try:
        content = bytearray(encoded(suffix))
    except cv2.error:  # this OpenCV does not write the format
        return b""
    struct.pack_into(layout, content, content.index(before) + len(before) + skip, side, side)
    return bytes(content)


SIDE = 60_000
CONTENTS: dict[str, bytes] = {
    "whole.png": png(32_000, 32_000, 32_000),
    "header.png": png(100_000, 100_000, 1),
    "x.avif": patched(".avif", b"ispe", ">II", SIDE, 4),
    "x.bmp": patched(".bmp", struct.pack("<I", 40), "<ii", SIDE),
    "down.bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, SIDE, -SIDE) + bytes(80),
    "old.bmp": b"BM" + bytes(12) + struct.pack("<IHHHH", 12, SIDE, SIDE, 1, 24) + bytes(80),
    "x.gif": patched(".gif", b"GIF89a", "<HH", SIDE),
    "x.hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n" + bytes(100),
    "x.jpg": patched(".jpg", b"\xff\xc0", ">HH", SIDE, 3),
    "x.jp2": patched(".jp2", b"\xff\x4f\xff\x51", ">II", SIDE, 4),
    "x.pbm": b"P4 60000 60000\n" + bytes(100),
    "x.ppm": b"P6# a comment\n60000\n60000 255\n" + bytes(100),
    "x.pam": b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n",
    "x.pfm": b"PF\n60000 60000\n-1.0\n" + bytes(100),
    "x.ras": struct.pack(">8I", 0x59A66A95, SIDE, SIDE, 24, 100, 1, 0, 0) + bytes(100),
    "x.tif": tiff(SIDE, SIDE),
    "motorola.tif": tiff(SIDE, SIDE, ">"),
    "big.tif": big_tiff(SIDE, SIDE),
    "x.webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\0" * 2,
}  # fmt: skip
BOMBS = {name: content for name, content in CONTENTS.items() if content}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    with pytest.raises(BadInputError, match=rf"{name}: found \d{{5,}}x\d{{5,}} px, .*max-pixels"):
        read_image(path)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """In a process of its own: what OpenCV does with these files ends it, or raises."""
    for name, content in BOMBS.items():
        (tmp_path / name).write_bytes(content)
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from posedeploy.errors import BadInputError\n"
        "from posedeploy.sdk.images import read_image\n"
        "if sys.platform == 'linux':\n"
        f"    resource.setrlimit(resource.RLIMIT_AS, ({GIGANTIC}, {GIGANTIC}))\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n        read_image(path)\n"
        "    except BadInputError:\n        print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["refused"] * len(BOMBS)


@pytest.mark.parametrize("name", FORMATS)
def test_the_declared_size_is_the_decoded_one(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{ENCODED[name]}"
    try:
        path.write_bytes(encoded(path.suffix))
    except cv2.error:
        pytest.skip(f"this OpenCV does not write {name}")
    assert declared_size(path.read_bytes()) == SIZE
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_image(path), expected)
    with pytest.raises(BadInputError, match=f"at most {SIZE[0] * SIZE[1] - 1:,} px"):
        read_image(path, SIZE[0] * SIZE[1] - 1)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 50)),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".jpg", (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
        (".pgm", ()),
        (".pbm", ()),
    ],
)
def test_variants_of_the_formats_are_read(suffix: str, options: tuple[int, ...]) -> None:
    assert declared_size(encoded(suffix, options=options)) == SIZE


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff\xe0\0\2" * 20_000, b"BM",
        b"II*\0\xff\xff\xff\xff",
        b"P6" + b"#" * 100_000, b"P7\nWIDTH 5\nENDHDR\nHEIGHT 5", b"P5 5 " + b"9" * 5_000 + b" 1",
        b"#?RADIANCE\n" + b"-Y " * 50_000, b"RIFF\0\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n",
        b"II*\0\x08\0\0\0\x01\0\0\1\x04\0", b"no image",
    ],
)  # fmt: skip
def test_a_file_without_a_size_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="that OpenCV cannot read"):
        read_image(path)


def test_no_mutation_decodes_to_more_than_it_declares() -> None:
    """A header that OpenCV reads in another way than `declared_size` would be a hole."""
    rng, decoded = np.random.default_rng(7), 0
    for suffix in ENCODED.values():
        try:
            whole = np.frombuffer(encoded(suffix, (64, 64)), np.uint8)
        except cv2.error:
            continue
        for _ in range(60):
            content = whole.copy()
            where = rng.integers(0, min(len(content), 200), 2)
            content[where] = rng.integers(0, 256, 2)
            size = declared_size(content.tobytes())
            if size is None or not 0 < size[0] * size[1] <= 10**6:
                continue
            try:
                image = cv2.imdecode(content, cv2.IMREAD_COLOR)
            except cv2.error:
                continue
            if image is not None:
                decoded += 1
                assert max(image.shape[:2]) <= max(size), (suffix, where)
                assert image.shape[0] * image.shape[1] <= size[0] * size[1], (suffix, where)
    assert decoded > 200


def jpeg(*options: int, preview: bool = False) -> bytes:
    """A JPEG file; with a preview, a whole one of its own in a segment, as cameras write it."""
    whole = encoded(".jpg", options=options)
    small = encoded(".jpg", (64, 64))
    segment = b"\xff\xe1" + struct.pack(">H", len(small) + 8) + b"Exif\0\0" + small
    return whole[:2] + segment + whole[2:] if preview else whole


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
WHOLE: dict[str, Callable[[], bytes]] = {
    "baseline": jpeg,
    "progressive": lambda: jpeg(*PROGRESSIVE),
    "with restart markers": lambda: jpeg(*RESTARTS),
    "with a preview": lambda: jpeg(preview=True),
    "PNG": lambda: encoded(".png"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path: Path, case: str) -> None:
    whole, path = WHOLE[case](), tmp_path / "half.img"
    for content in (whole, whole + b"\0behind \xff\xd8 the image"):
        path.write_bytes(content)
        assert read_image(path).shape == (*SIZE[::-1], 3)
    kind = "PNG" if case == "PNG" else "JPEG"
    header, last = (40, b"IEND") if case == "PNG" else (whole.rindex(b"\xff\xda"), b"\xff\xd9")
    for length in np.linspace(header, whole.rindex(last) + len(last) - 1, 9).astype(int).tolist():
        for fill in (b"", bytes(len(whole))):  # the rest of a download may be zeros
            path.write_bytes(whole[:length] + fill)
            with pytest.raises(BadInputError, match=f"a {kind} file of .* bytes that ends before"):
                read_image(path)


def test_markers_without_end_take_no_time() -> None:
    started = time.perf_counter()
    assert not ends_early(b"\xff\xd8\xff" + b"\xff\xe0\0\2" * 5_000_000)
    assert time.perf_counter() - started < 1


def test_an_error_in_opencv_is_an_error_for_a_person(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(tiff(2_000_000, 2))  # OpenCV takes no side above 2**20
    with pytest.raises(BadInputError, match=r"image\.tif: found .*OpenCV cannot read"):
        read_image(path)


def test_a_file_that_is_larger_than_its_pixels_can_be_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    path.write_bytes(encoded(".png"))
    os.truncate(path, 200_000_000)
    with pytest.raises(BadInputError, match="a file of 200,000,000 bytes"):
        read_image(path, 8_000_000)
    assert read_image(path).shape == (*SIZE[::-1], 3)  # 100 million pixels may have 0.8 GB


@pytest.mark.parametrize("stem", [b"\xff\xfe", b"a\nb", b"x" * 251, "ünï ✓".encode(), b"%d: 'q'"])
def test_a_file_name_may_be_of_any_bytes(stem: bytes, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + stem + b".png"))
    try:
        path.touch()
    except OSError as error:  # macOS takes names of UTF-8 alone
        pytest.skip(f"the file system refuses the name: {error.strerror}")
    image = np.full((4, 5, 3), 9, np.uint8)
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)
    assert [os.fsencode(p.name) for p in tmp_path.iterdir()] == [stem + b".png"]


def test_a_camera_that_was_turned_is_turned_back_unless_the_color_type_ignores_it(
    tmp_path: Path,
) -> None:
    from PIL import Image

    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    assert read_image(path).shape == (40, 30, 3)
    assert read_image(path, color_type="color_ignore_orientation").shape == (30, 40, 3)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="File name too long"):
        read_image(tmp_path / ("x" * 300))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadInputError, match="no such file"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65_501), (".webp", 16_384)])
def test_a_side_that_the_format_cannot_hold_is_an_error(
    tmp_path: Path, suffix: str, side: int
) -> None:
    with pytest.raises(BadInputError, match=f"{side}x1 px, which OpenCV cannot write"):
        write_image(tmp_path / f"wide{suffix}", np.zeros((1, side, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def view(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array of that shape that takes one byte."""
    return np.broadcast_to(np.uint8(0), shape)


ARRAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "2.9 GiB": (lambda: view((32_000, 32_000, 3)), "32000x32000 px"),
    "wide": (lambda: view((1, MAX_PIXELS + 1, 3)), "100000001x1 px"),
    "float": (lambda: np.zeros((4, 4, 3), np.float32), "a float32 array"),
    "swapped": (lambda: np.zeros((4, 4, 3), ">u2"), "a >u2 array|a uint16 array"),
    "objects": (lambda: np.full((4, 4, 3), None), "a object array"),
    "empty": (lambda: np.zeros((4, 0, 3), np.uint8), r"\[4, 0, 3\]"),
    "planes": (lambda: np.zeros((3, 4, 4), np.uint8), r"\[3, 4, 4\]"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_no_image_are_refused(case: str) -> None:
    make, found = ARRAYS[case]
    with pytest.raises(BadInputError, match=found):
        check_image(make())


def test_no_limit_goes_above_what_opencv_can_hold() -> None:
    with pytest.raises(BadInputError, match=f"at most {MOST_PIXELS:,} px"):
        check_image(view((32_000, 32_000, 3)), 10**12)
    assert check_image(view((20_000, 20_000, 3)), 400_000_000).shape == (20_000, 20_000, 3)
