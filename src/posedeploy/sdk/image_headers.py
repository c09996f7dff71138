"""The size that an image file declares, and whether it is whole, before anything is decoded.

A PNG of 124 kB may decode to 3 GB. Packages that read headers lack formats that OpenCV decodes
(HDR, PAM, PFM, Sun raster), and return one size where a file declares two: here the largest width
and the largest height count, so that OpenCV cannot decode more than was checked.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

Sizes = Iterator[tuple[int, int]]  # width and height, px
Reader = Callable[[bytes], Sizes]

_SEGMENTS = 10_000  # of a JPEG file before its size: more are no image
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])*"  # space and comments between the numbers of a Netpbm file
# JPEG markers with a segment, and the end of image; not those within the data of a scan
_MARKER, _END_OF_IMAGE = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])", re.DOTALL), 0xD9
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # JPEG markers among those of frames that start none (ITU T.81, B.1)
# Brands of ISO base media files that are images (ISO/IEC 23008-12, annex B; AVIF 1.1, section 6).
_BRAND = re.compile(rb".{4}ftyp(.{4})", re.DOTALL)
# Formats that begin with two letters, as texts do: what a size follows in.
_SURE = {
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # sizes of headers
    "Netpbm": rb"P[1-6]\s", "PAM": rb"P7\s", "PFM": rb"P[Ff]\s",
}  # fmt: skip
_STILL = {b"avi": "AVIF", b"hei": "HEIC", b"hev": "HEIC", b"mif": "HEIC or AVIF"}


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, px, that the bytes of an image file declare; None for other files."""
    for signature, read in FORMATS.values():
        if re.match(signature, data, re.DOTALL):
            try:
                sizes = list(read(data))
            except (struct.error, IndexError):  # the file ends within its header
                return None
            return (max(w for w, _ in sizes), max(h for _, h in sizes)) if sizes else None
    return None


def format_of(data: bytes) -> str:
    """Name of the image format that a file begins like; '' for other files, videos among them."""
    if (brand := _BRAND.match(data)) is not None:  # a container that holds a video as well
        return _STILL.get(brand[1][:3], "")
    for name, (start, _) in FORMATS.items():
        if re.match(_SURE.get(name, start), data, re.DOTALL):
            return name if name not in _SURE or declared_size(data) else ""
    return ""


def ends_early(data: bytes) -> str:
    """The format of an image file that was cut off before its end; '' for others.

    OpenCV 4 fills what is missing with gray. A file that was closed again where it was cut is not
    recognized, nor is one of another format than JPEG and PNG, which OpenCV refuses itself.
    """
    for name, reaches_end in _ENDS.items():
        if re.match(FORMATS[name][0], data, re.DOTALL):
            try:
                return "" if reaches_end(data) else name
            except struct.error:  # within a segment's header
                return name
    return ""


def _jpeg_reaches_end(data: bytes) -> bool:
    """Whether the markers lead to an end of image: a preview's own lies within a segment.

    What cameras write behind it (more images, videos) does not matter.
    """
    position = 2
    for _ in range(_SEGMENTS):
        if not (match := _MARKER.search(data, position)):
            return False
        if match[1][0] == _END_OF_IMAGE:
            return True
        position = match.end() + struct.unpack_from(">H", data, match.end())[0]
    return True  # nobody's image: OpenCV may have a look


def _png_reaches_end(data: bytes) -> bool:
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        if kind == b"IEND":
            return True
        if not kind.isalpha():  # zeros, of a download that was never finished
            return False
        position += 12 + length
    return False


def _fields(layout: str, offset: int) -> Reader:
    """Reads a format with width and height at a fixed place."""

    def read(data: bytes) -> Sizes:
        width, height = struct.unpack_from(layout, data, offset)
        yield width, height

    return read


def _pattern(pattern: bytes, *, binary: str = "", swapped: bool = False) -> Reader:
    """Reads two numbers wherever a pattern matches: decimal ones, or of a binary layout."""

    def read(data: bytes) -> Sizes:
        for match in re.finditer(pattern, data, re.DOTALL):
            first, second = struct.unpack(binary, match[1]) if binary else map(int, match.groups())
            yield (second, first) if swapped else (first, second)

    return read


def _bmp(data: bytes) -> Sizes:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    yield width, abs(height)  # negative: the rows are stored from the top


def _jpeg(data: bytes) -> Sizes:
    """Walks over the segments to the first frame; markers without a segment are skipped."""
    position = 2
    for _ in range(_SEGMENTS):
        if not (match := _MARKER.search(data, position)):
            return
        kind, position = match[1][0], match.end()
        if 0xC0 <= kind <= 0xCF and kind not in _NO_SIZE:
            height, width = struct.unpack_from(">HH", data, position + 3)
            yield width, height
            return
        position += struct.unpack_from(">H", data, position)[0]


def _pam(data: bytes) -> Sizes:
    header = data.partition(b"ENDHDR")[0]
    widths, heights = (
        [int(number) for number in re.findall(rb"%s\s+(\d{1,20})" % name, header)]
        for name in (b"WIDTH", b"HEIGHT")
    )
    if widths and heights:
        yield max(widths), max(heights)


def _netpbm(data: bytes) -> Sizes:
    match = re.match(rb"P[1-6]%s(\d{1,20})\s%s(\d{1,20})\s" % (_GAP, _GAP), data)
    if match:
        yield int(match[1]), int(match[2])


def _tiff(data: bytes) -> Sizes:
    """Reads the first directory; BigTIFF has the version 43 (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    pointer, count, entry, space = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (start,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, data, start)
    found: dict[int, int] = {}
    first = start + struct.calcsize("<" + count)
    for place in range(first, min(first + entries * entry, len(data) - entry + 1), entry):
        tag, kind = struct.unpack_from(order + "HH", data, place)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT) and (code := _TIFF_INTEGERS.get(kind)):
            value = place + entry - space
            if struct.calcsize("<" + code) > space:
                (value,) = struct.unpack_from(order + "I", data, value)
            (number,) = struct.unpack_from(order + code, data, value)
            found[tag] = max(number, found.get(tag, 0))
    if len(found) == 2:
        yield found[_TIFF_WIDTH], found[_TIFF_HEIGHT]


def _webp(data: bytes) -> Sizes:
    """The canvas, or the frame of a file without one (RFC 9649, 2.7)."""
    match data[12:16]:
        case b"VP8X":
            sides = (data[24:27], data[27:30])
            width, height = (int.from_bytes(side, "little") + 1 for side in sides)
            yield width, height
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            yield (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            yield width & 0x3FFF, height & 0x3FFF


# ---- modify this table to add a format -----------------------------------------------------
# name -> (what its files begin with, reader)
# fmt: off
FORMATS: dict[str, tuple[bytes, Reader]] = {
    "AVIF":       (rb".{4}ftyp",           _pattern(rb"ispe.{4}(.{8})", binary=">II")),
    "BMP":        (rb"BM",                 _bmp),
    "GIF":        (rb"GIF8[79]a",          _fields("<HH", 6)),
    "HDR":        (rb"#\?R(ADIANCE|GBE)",
                   _pattern(rb"-Y\s*(\d{1,20})\s*\+X\s*(\d{1,20})", swapped=True)),
    "JPEG":       (rb"\xff\xd8\xff",       _jpeg),
    "JPEG 2000":  (rb"\xff\x4f\xff\x51|\0{3}\x0cjP  ",
                   _pattern(rb"\xff\x4f\xff\x51.{4}(.{8})", binary=">II")),
    "Netpbm":     (rb"P[1-6]",             _netpbm),
    "PAM":        (rb"P7",                 _pam),
    "PFM":        (rb"P[Ff]",              _pattern(rb"\AP[Ff]\s+(\d{1,20})\s+(\d{1,20})\s")),
    "PNG":        (rb"\x89PNG\r\n\x1a\n",  _fields(">II", 16)),
    "Sun raster": (rb"\x59\xa6\x6a\x95",   _fields(">II", 4)),
    "TIFF":       (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", _tiff),
    "WebP":       (rb"RIFF.{4}WEBP",       _webp),
}
# fmt: on
# --------------------------------------------------------------------------------------------

_ENDS: dict[str, Callable[[bytes], bool]] = {"JPEG": _jpeg_reaches_end, "PNG": _png_reaches_end}
