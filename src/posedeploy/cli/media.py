"""Images and videos, found by path, folder or pattern, and where drawings of them go."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posedeploy.errors import BadInputError, did_you_mean

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
_PATTERN = frozenset("*?[")
DRAWN = "_poses"  # what is added to the name of an image that was drawn on


@dataclass(frozen=True)
class Source:
    """A image or a video to find poses in.

    Attributes:
        path: The file.
        is_video: True if its suffix is a video's.
        named: True if the user named the file; False if a folder or a pattern did.
    """

    path: Path
    is_video: bool
    named: bool


def find_sources(words: Sequence[str]) -> tuple[Source, ...]:
    """Files, the images and videos of folders, and what patterns match; each file once.

    Args:
        words: Paths of files and folders, and patterns such as 'photos/**/*.jpg'.

    Raises:
        BadInputError: One of them leads to nothing.
    """
    found: dict[Path, Source] = {}
    for word in words:
        for source in _sources(word):
            found.setdefault(source.path, source)
    return tuple(found.values())


def _sources(word: str) -> list[Source]:
    path = Path(word)
    if path.is_file():
        return [Source(path, path.suffix.lower() in VIDEOS, named=True)]
    if path.is_dir():
        return _known(sorted(path.iterdir()), f"folder {word}")
    if _PATTERN & set(word):
        return _known(sorted(map(Path, glob.glob(word, recursive=True))), f"pattern {word}")
    neighbors = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise BadInputError(
        f"image {word}", "no such file", "an image, a video, a folder or a pattern",
        did_you_mean(path.name, neighbors, "Check the path."),
    )  # fmt: skip


def _known(paths: Sequence[Path], subject: str) -> list[Source]:
    """Those of the paths that are images or videos by their suffix."""
    kinds = {suffix: suffix in VIDEOS for suffix in (*IMAGES, *VIDEOS)}
    found = [
        Source(path, kinds[path.suffix.lower()], named=False)
        for path in paths
        if path.suffix.lower() in kinds and path.is_file()
    ]
    if not found:
        others = ", ".join(path.name for path in paths[:3])
        raise BadInputError(
            subject, f"no image or video{f', but {others}' if others else ''}",
            f"files that end in {', '.join(s[1:] for s in kinds)}",
            "Check the path; patterns go down into folders with **.",
        )  # fmt: skip
    return found


def drawn_names(sources: Sequence[Source]) -> list[str]:
    """A file name for what is drawn of each source: different ones, none of a source's own."""
    taken: set[str] = set()
    names = []
    for source in sources:
        suffix = ".mp4" if source.is_video else source.path.suffix.lower()
        suffix = suffix if suffix in (*IMAGES, ".mp4") else ".jpg"
        count, name = 1, f"{source.path.stem}{DRAWN}{suffix}"
        while name in taken:
            count += 1
            name = f"{source.path.stem}{DRAWN}_{count}{suffix}"
        taken.add(name)
        names.append(name)
    return names


def output_folder(path: Path) -> Path:
    """The folder, made if it was not there.

    Raises:
        BadInputError: It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        found = "a file" if path.is_file() else error.strerror or str(error)
        raise BadInputError(
            f"--out {path}", found, "a folder that can be written to",
            "Choose another place.",
        ) from error  # fmt: skip
