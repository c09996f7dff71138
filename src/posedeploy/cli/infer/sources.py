"""What `infer` is given: images, videos, cameras and streams; their names and what they mean."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from posedeploy.cli.filekinds import (
    IMAGES,
    VIDEOS,
    check_no_stream,
    is_image_or_video,
    is_video,
    live_address,
)
from posedeploy.errors import BadInputError, did_you_mean, names_beside

STDIN = "-"  # paths on standard input, one a line
# Bytes of a file name, the limit of most file systems; digits of a hash for a shortened one.
_NAME_BYTES, _HASH_DIGITS = 255, 8
_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class Source:
    """An image or a video; `alone` if the user named it, and nothing else.

    A camera or a stream is a video with an `address`, as OpenCV opens it; its `path` is a name for
    people and for files, and has no password in it.
    """

    path: Path
    is_video: bool
    alone: bool
    address: str | int | None = None

    @property
    def name(self) -> str:
        """What it is called in a line for people."""
        return self.path.name if self.address is None else public_name(self.address)

    @property
    def shown(self) -> str:
        """What stands for it in JSON and in errors."""
        return str(self.path) if self.address is None else public_name(self.address)


def public_name(address: str | int) -> str:
    """A camera or a stream, without the user and the password that an address may have."""
    if isinstance(address, int):
        return f"camera {address}"
    scheme, mark, rest = address.partition("://")
    host, slash, place = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{place}" if mark else address


@dataclass(frozen=True)
class Found:
    """What paths, folders and patterns stand for; `left_out` is neither image nor video."""

    sources: tuple[Source, ...]
    left_out: tuple[Path, ...] = ()


def find_sources(words: Sequence[str], stdin: BinaryIO | None = None) -> Found:
    """The sources of words; each once.

    A word is a path, a folder, a pattern such as 'photos/**/*.jpg', the number or the device of a
    camera, the address of a stream, or '-' for the paths in the lines of `stdin`.

    Raises:
        BadInputError: One of them matches nothing, or standard input is empty.
    """
    sources: dict[tuple[Path, str | int | None], Source] = {}
    left_out: dict[Path, None] = {}
    for found in map(_found, _with_lines(words, stdin)):
        left_out |= dict.fromkeys(found.left_out)
        for source in found.sources:
            sources.setdefault((source.path, source.address), source)
    alone = len(sources) == 1
    return Found(
        tuple(s if alone else replace(s, alone=False) for s in sources.values()), tuple(left_out)
    )


def _with_lines(words: Iterable[str], stdin: BinaryIO | None) -> Iterator[str]:
    for word in words:
        if word != STDIN or stdin is None:
            yield word
            continue
        lines = [line for line in stdin.read().splitlines() if line]
        if not lines:
            raise BadInputError(
                "standard input", "no lines", "paths of images or videos, one a line",
                "Check the command before the pipe, such as: find photos -name '*.jpg'",
            )  # fmt: skip
        yield from map(os.fsdecode, lines)


def _found(word: str) -> Found:
    path = Path(word)
    if path.is_file():
        return Found((Source(path, is_video(path), alone=True),))
    if path.is_dir():
        return _among(sorted(path.iterdir()), f"folder {word}")
    if (address := live_address(word)) is not None:
        name = Path(re.sub(r"[^\w-]+", "_", public_name(address).partition("?")[0]))
        return Found((Source(name, is_video=True, alone=True, address=address),))
    check_no_stream(word)
    if _PATTERN & set(word):
        return _among(sorted(map(Path, glob.glob(word, recursive=True))), f"pattern {word}")
    raise BadInputError(
        f"image {word}", "no regular file" if path.exists() else "no such file",
        "an image, a video, a folder or a pattern",
        did_you_mean(path.name, names_beside(path), "Check the path."),
    )  # fmt: skip


def _among(paths: Sequence[Path], subject: str) -> Found:
    """Those of the paths that are images or videos; what is hidden is passed over."""
    files = [path for path in paths if path.is_file()]
    sources = [path for path in files if is_image_or_video(path)]
    if not sources:
        others = ", ".join(path.name for path in paths[:3])
        raise BadInputError(
            subject, f"no image or video{f', but {others}' if others else ''}",
            f"files that end in {', '.join(s[1:] for s in (*IMAGES, *VIDEOS))}",
            "Check the path; patterns go down into folders with **.",
        )  # fmt: skip
    return Found(
        tuple(Source(path, is_video(path), alone=False) for path in sources),
        tuple(p for p in paths if p not in sources and not p.name.startswith(".")),
    )


def drawn_names(sources: Sequence[Source]) -> list[str]:
    """A unique file name for the drawing of each source."""
    names: dict[str, None] = {}  # in order
    for source in sources:
        suffix = ".mp4" if source.is_video else source.path.suffix.lower()
        suffix = suffix if suffix in (*IMAGES, ".mp4") else ".jpg"
        name = _fitting(source.path.stem, f"_poses{suffix}")
        count = 1
        while name in names:
            count += 1
            name = _fitting(source.path.stem, f"_poses_{count}{suffix}")
        names[name] = None
    return list(names)


def _fitting(stem: str, end: str) -> str:
    """Stem and end; if they are too long for a file name, a hash replaces the rest of the stem."""
    content, room = os.fsencode(stem), _NAME_BYTES - len(os.fsencode(end))
    if len(content) > room:
        digits = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
        cut = content[: room - 1 - _HASH_DIGITS].decode(errors="ignore")
        return f"{cut}-{digits}{end}"
    return f"{stem}{end}"
