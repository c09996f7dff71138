"""Odd images through `posedeploy infer`, and odd arrays and boxes through `PoseDetector`."""

from __future__ import annotations

import functools
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import PoseDeployError
from posedeploy.sdk import PoseDetector
from suites.drill.harness import Attempt, Outcome, Result, cli, tail
from suites.drill.models import BOXES, IMAGE

MODEL = "simcc_onnxruntime"
HUGE = (20_000, 32_000, 65_500, 1_000_000, 2**31 - 1)  # px, sides of images that are not there


def _encoded(suffix: str, image: NDArray[Any] = IMAGE, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def _pillow(kind: str, image: NDArray[Any] = IMAGE, mode: str = "RGB", **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).convert(mode).save(out, kind, **options)
    return out.getvalue()


def _png(width: int, height: int, depth: int, color: int, data: bytes) -> bytes:
    """A PNG file; `data` is compressed already."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + body


@functools.cache
def _png_bomb(side: int) -> bytes:
    """A whole PNG of `side` x `side` black pixels: a bit each in the file, 3 bytes in memory."""
    compressor, row = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    return _png(
        side,
        side,
        1,
        0,
        b"".join(compressor.compress(row) for _ in range(side)) + compressor.flush(),
    )


def _tiff(width: int, height: int) -> bytes:
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1),
            (278, height), (279, min(width * height, 2**32 - 1)))  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


# Headers of images that are not there, by format; OpenCV goes by the content, not by the suffix.
HEADERS: Mapping[str, Callable[[int, int], bytes]] = {
    "bmp": lambda w, h: b"BM" + struct.pack(
        "<IIIIiiHHIIiiII", 54, 0, 54, 40, w, h, 1, 24, 0, 0, 0, 0, 0, 0),
    "gif": lambda w, h: b"GIF89a" + struct.pack("<HHBBB", w & 65535, h & 65535, 0xF7, 0, 0)
    + bytes(768)
    + b"," + struct.pack("<HHHHB", 0, 0, w & 65535, h & 65535, 0) + b"\x08\x01\x00\x00;",
    "hdr": lambda w, h: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (h, w),
    "jpg": lambda w, h: _encoded(".jpg").replace(
        struct.pack(">HH", *IMAGE.shape[:2]), struct.pack(">HH", h & 65535, w & 65535), 1),
    "pam": lambda w, h: (
        b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" % (w, h)),
    "pbm": lambda w, h: b"P4\n%d %d\n" % (w, h),
    "pfm": lambda w, h: b"PF\n%d %d\n-1.0\n" % (w, h),
    "pgm": lambda w, h: b"P5\n%d %d\n255\n" % (w, h),
    "png": lambda w, h: _png(w, h, 8, 2, zlib.compress(bytes(1000))),
    "ppm": lambda w, h: b"P6\n%d %d\n255\n" % (w, h),
    "ras": lambda w, h: struct.pack(">IIIIIIII", 0x59A66A95, w, h, 24, 0, 1, 0, 0),
    "tif": _tiff,
    "webp": lambda w, h: b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<II", 10, 0)
    + struct.pack("<I", w - 1)[:3] + struct.pack("<I", h - 1)[:3] + bytes(8),
}  # fmt: skip
WHOLE = (".bmp", ".jpg", ".png", ".tiff", ".webp", ".ppm")
NAMES = (
    b"odd \xff\xfe.png", b"n" * 240 + b".png", b"a\nb.png", b"--out.png", b"a b.png", b"[red].png",
    b"%s%n.png", b"'\".png", b"::error::x.png", "日本 é \u202e.png".encode(), b"*.png",
    b".png.png", b"\x1b[31m.png", b"<b>.png", b"~.png", b"$HOME.png",
)  # fmt: skip


def _bomb(rng: Random) -> tuple[str, bytes]:
    if rng.random() < 0.15:
        return "png 32000x32000, whole", _png_bomb(32_000)
    kind, width = rng.choice(sorted(HEADERS)), rng.choice(HUGE)
    height = rng.choice((width, 1, 40_000))
    return f"{kind} header {width}x{height}", HEADERS[kind](width, height)


def _damaged(rng: Random) -> tuple[str, bytes]:
    suffix = rng.choice(WHOLE)
    data = bytearray(_encoded(suffix))
    if rng.random() < 0.5:
        return f"{suffix} truncated", bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 8, 64))):
        data[rng.randrange(min(len(data), rng.choice((64, 10**9))))] = rng.randrange(256)
    return f"{suffix} with bytes changed", bytes(data)


def _unusual(rng: Random) -> tuple[str, bytes]:
    gray = IMAGE[..., 0]
    ramp = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7) * 1800
    makers: dict[str, Callable[[], bytes]] = {
        "alpha": lambda: _pillow("PNG", mode="RGBA"),
        **{
            f"animated {kind}": functools.partial(_animated, kind)
            for kind in ("GIF", "PNG", "WEBP")
        },
        "arithmetic noise": lambda: rng.randbytes(5000),
        "16-bit gray": lambda: _encoded(".png", ramp),
        "16-bit TIFF": lambda: _encoded(".tiff", np.dstack([ramp] * 3)),
        "CMYK": lambda: _pillow("JPEG", mode="CMYK"),
        "float TIFF": lambda: _encoded(".tiff", gray.astype(np.float32)),
        "gray": lambda: _encoded(".jpg", gray),
        "gray alpha": lambda: _pillow("PNG", mode="LA"),
        "one bit": lambda: _pillow("PNG", mode="1"),
        "one pixel": lambda: _encoded(".png", IMAGE[:1, :1]),
        "palette": lambda: _pillow("PNG", mode="P"),
        "rotated by EXIF": lambda: _pillow("JPEG", exif=_exif(rng.randrange(10))),
        "thin": lambda: _encoded(".png", np.repeat(IMAGE[:1], 300, 0).reshape(1, -1, 3)),
        "zero bytes": lambda: b"",
        "a web page": lambda: b"<!doctype html><p>404",
        "zeros": lambda: bytes(10_000),
    }
    kind = rng.choice(sorted(makers))
    return kind, makers[kind]()


def _animated(kind: str) -> bytes:
    from PIL import Image

    frames = [Image.fromarray(IMAGE[:, ::-1]) for _ in range(3)]
    return _pillow(kind, save_all=True, append_images=frames)


def _exif(orientation: int) -> Any:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _named(rng: Random) -> tuple[str, bytes]:
    return "whole", _encoded(".png")


MAKERS = (_bomb, _bomb, _damaged, _unusual, _named)


def image(given: Attempt) -> Result:
    """One odd image between two good ones, in a folder, and by itself."""
    rng = given.rng
    make = MAKERS[given.index % len(MAKERS)]
    kind, data = make(rng)
    suffix = rng.choice((".png", ".png", ".jpg", ".tif", ".bmp", ".webp", ".jpeg"))
    names = NAMES if make is _named else [f"m{suffix}".encode()]
    name = names[given.index // len(MAKERS) % len(names)]
    given.note(f"{kind}, named {name[:20]!r}")
    folder = given.scratch / "images"
    folder.mkdir()
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    odd.write_bytes(data)
    for good in ("!first.png", "zz-last.png"):
        (folder / good).write_bytes(_encoded(".png"))
    model, out = str(given.arena / MODEL), str(given.scratch / "out")
    status, text = cli("infer", model, str(folder), "--json", "--out", out)
    alone, alone_text = cli("infer", model, "--json", "--out", out, "--", str(odd))
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    said = {os.path.basename(line["source"]): line for line in lines if "source" in line}
    missing = {"!first.png", "zz-last.png"} - {
        n for n, line in said.items() if line["kind"] == "image"
    }
    kind = given.kinds[0]
    if missing or len(said) != 3:
        return Result(Outcome.BROKEN, kind, f"the run stopped, exit code {status}: {tail(text)}")
    if status not in {0, 1} or alone not in {0, 2}:
        return Result(Outcome.BROKEN, kind, f"exit codes {status} {alone}: {tail(alone_text)}")
    if status == 1:
        words = next(line["found"] for line in lines if line["kind"] == "unreadable")
        return Result(Outcome.REFUSED, kind, words)
    right = alone == 0 and (make is not _named or _same_people(said))
    return Result(Outcome.SAME if right else Outcome.BROKEN, kind, tail(alone_text) * (not right))


def _same_people(said: Mapping[str, Any]) -> bool:
    people = [line["people"] for line in said.values()]
    return all(one == people[0] for one in people)


def _with(value: float) -> NDArray[Any]:
    array = IMAGE.astype(np.float32)
    array[3, 4] = value
    return array


class _Array(np.ndarray[Any, Any]):
    """A subclass of NumPy's arrays."""


# ---- modify these tables to add an array; True: it is an image like any other ---------------
ARRAYS: Mapping[str, tuple[Callable[[], Any], bool]] = {
    "complex": (lambda: IMAGE.astype(np.complex64), False),
    "every other pixel": (lambda: IMAGE[::2, ::2], True),
    "float32": (lambda: IMAGE.astype(np.float32), False),
    "float64": (lambda: IMAGE / 255, False),
    "gray": (lambda: IMAGE[..., 0], False),
    "huge, one pixel": (lambda: np.broadcast_to(IMAGE[:1, :1], (40_000, 40_000, 3)), False),
    "huge, one row": (lambda: np.broadcast_to(IMAGE[:1, :1], (1, 2**31 - 1, 3)), False),
    "huge, wide": (lambda: np.broadcast_to(IMAGE[:1, :1], (2, 2**40, 3)), False),
    "infinity": (lambda: _with(np.inf), False),
    "int64": (lambda: IMAGE.astype(np.int64), False),
    "list": (IMAGE.tolist, False),
    "masked": (lambda: np.ma.masked_equal(IMAGE, 3), True),
    "mirrored": (lambda: IMAGE[:, ::-1], True),
    "NaN": (lambda: _with(np.nan), False),
    "no columns": (lambda: IMAGE[:, :0], False),
    "no rows": (lambda: IMAGE[:0], False),
    "None": (lambda: None, False),
    "objects": (lambda: IMAGE.astype(object), False),
    "of Fortran's order": (lambda: np.asfortranarray(IMAGE), True),
    "one number": (lambda: np.uint8(3), False),
    "path": (lambda: "image.png", False),
    "read-only": (lambda: np.frombuffer(IMAGE.tobytes(), np.uint8).reshape(IMAGE.shape), True),
    "reversed": (lambda: IMAGE[::-1, ::-1, ::-1], True),
    "RGBA": (lambda: np.dstack([IMAGE, IMAGE[..., :1]]), False),
    "strings": (lambda: IMAGE.astype(str), False),
    "subclass": (lambda: IMAGE.view(_Array), True),
    "transposed": (lambda: IMAGE.transpose(2, 0, 1), False),
    "transposed back": (
        lambda: np.ascontiguousarray(IMAGE.transpose(2, 1, 0)).transpose(2, 1, 0),
        True,
    ),
    "unaligned": (
        lambda: np.frombuffer(b"x" + IMAGE.tobytes(), np.uint8)[1:].reshape(IMAGE.shape),
        True,
    ),
    "zero strides": (lambda: np.broadcast_to(IMAGE[:1], IMAGE.shape), True),
}
BOX_LISTS: Mapping[str, Callable[[], Any]] = {
    "of a dict": lambda: {"a": 1},
    "of an int that is no double": lambda: [[0, 0, 10**400, 5]],
    "of infinity": lambda: [[0, 0, np.inf, 5]],
    "of NaN": lambda: [[0, 0, np.nan, 5]],
    "of no area": lambda: [[5, 5, 5, 5]],
    "near the largest float": lambda: [[-3e38, -3e38, 3e38, 3e38]],
    "beyond float32": lambda: np.array([[0, 0, 1e300, 5]]),
    "tiny": lambda: [[0, 0, 1e-45, 1e-45]],
    "backwards": lambda: [[80, 120, 5, 5]],
    "far away": lambda: [[1e9, 1e9, 2e9, 2e9]],
    "three numbers": lambda: [[1, 2, 3]],
    "ragged": lambda: [[1, 2, 3, 4], [1]],
    "none": list,
    "text": lambda: "1,2,3,4",
    "objects": lambda: np.array([[None] * 4]),
    "complex": lambda: np.full((1, 4), 1j),
    "three deep": lambda: np.zeros((2, 2, 4)),
    "thousands": lambda: np.broadcast_to(np.array([0, 0, 9, 9.0]), (5000, 4)),
    "huge, one number": lambda: np.broadcast_to(np.float32(1), (2**40, 4)),
}
# --------------------------------------------------------------------------------------------
CASES = (
    *((name, make, right) for name, (make, right) in ARRAYS.items()),
    *((f"boxes {name}", make, False) for name, make in BOX_LISTS.items()),
)


@functools.cache
def _detector(folder: Path) -> PoseDetector:
    return PoseDetector(folder)


def array(given: Attempt) -> Result:
    """One odd array, or odd boxes on a good one; a view's result is that of its copy."""
    case = given.index % len(CASES)
    heads = (MODEL, "yolox-pose_onnxruntime")
    detect = _detector(given.arena / heads[given.index // len(CASES) % 2])
    name, make, right = CASES[case]
    boxes: Any = BOXES if detect.top_down else None
    if case >= len(ARRAYS):
        make, boxes = (lambda: IMAGE), make()
    kind, value = given.note(name), make()
    before = np.array(value) if right else None
    try:
        found = detect(value, boxes)
    except PoseDeployError as error:
        outcome = Outcome.BROKEN if right else Outcome.REFUSED
        return Result(outcome, kind, str(error)[:300])
    if not np.isfinite(found).all():
        return Result(Outcome.SILENT, kind, "keypoints that are no numbers")
    if before is None:
        return Result(Outcome.DIFFERENT, kind, f"keypoints {found.shape}")
    if not np.array_equal(before, value):
        return Result(Outcome.BROKEN, kind, "the image was changed")
    same = np.array_equal(found, detect(np.array(before, np.uint8, order="C", subok=False), boxes))
    return Result(Outcome.SAME if same else Outcome.SILENT, kind)
