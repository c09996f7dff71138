"""SHA-256 and size of a folder's files, which `detail.json` records.

A backend reads weights of another model, or flipped bits, without an error: only keypoints differ.
So the backend's files must match the record.  The JSON files are text that people edit, thresholds
for example: `validate` tells that they did.  MMDeploy's readers ignore the record, and its folders
have none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from posedeploy.errors import BadInputError
from posedeploy.paths import file_sha256
from posedeploy.sdk.fields import Node
from posedeploy.sdk.folder import DEPLOY, DETAIL, PIPELINE, SdkModel

# `PoseDetector` hashes files up to this size: 0.07 s at 1.9 GB/s, as long as ONNX Runtime takes to
# load RTMPose-t (13 MB). Larger files are compared by their size alone.
HASHED_BYTES = 128 * 2**20
EDITABLE = (DEPLOY, PIPELINE)  # the JSON files with a checksum; `detail.json` holds it
NEXT_STEP = "Copy the whole folder again, or convert the model again."
EDITED = "Check what was edited, or convert the model again."


@dataclass(frozen=True)
class Checksum:
    """What `detail.json: $.posedeploy.files` has for one file."""

    sha256: str
    bytes: int


def checksums(folder: Path, names: Sequence[str]) -> dict[str, dict[str, str | int]]:
    """`$.posedeploy.files` for the files of these names; packages count file by file."""
    return {
        name: asdict(Checksum(file_sha256(path), path.stat().st_size))
        for name, path in _files(folder, names).items()
    }


def _files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The regular files, by their names relative to the folder, with `/`."""
    found = {}
    for name in names:
        path = folder / name
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in inside:
            found[str(PurePosixPath(name, file.relative_to(path).as_posix()))] = file
    return found


def recorded(model: SdkModel) -> dict[str, Checksum] | None:
    """The checksums of a folder by file name, None where it has none; BadInputError as `Node`."""
    ours = Node(model.detail, DETAIL).get("posedeploy", dict, {})
    if "files" not in ours:
        return None
    files = Node(ours, DETAIL, "$.posedeploy").at("files")
    return {name: _checksum(files.at(name)) for name in files.is_a(dict)}


def _checksum(node: Node) -> Checksum:
    size = node.at("bytes")
    if type(size.value) is not int:
        raise size.error("an integer")
    return Checksum(node.at("sha256").is_a(str), size.value)


def mismatches(model: SdkModel, hashed_bytes: float = math.inf) -> Iterator[BadInputError]:
    """Files of the backend that are not those that were written.

    Nothing where the folder has no checksums.  Files of more than `hashed_bytes` are compared by
    their size alone.

    Raises:
        BadInputError: A file is missing or leads out of the folder; the record is malformed.
    """
    sums = recorded(model)
    if sums is None:
        return
    model.backend_files()  # nothing outside the folder is opened
    entry = model.model
    files = _files(model.folder, [name for name in (entry.net, entry.weights) if name])
    for name in sorted({*files, *sums} - {*EDITABLE}):
        if wrong := _wrong(files.get(name), sums.get(name), hashed_bytes):
            yield BadInputError(name, *wrong, NEXT_STEP)


def edited(model: SdkModel) -> Iterator[BadInputError]:
    """JSON files that were changed since the conversion, as far as the folder has checksums.

    Raises:
        BadInputError: The record is malformed.
    """
    sums = recorded(model) or {}
    for name in (name for name in EDITABLE if name in sums):
        if wrong := _wrong(model.folder / name, sums[name], math.inf):
            yield BadInputError(name, *wrong, EDITED)


def verify_files(model: SdkModel, *, everything: bool) -> None:
    """Raise the BadInputError of the first file that is another.

    `everything` hashes files of any size, and the JSON files; else the backend's up to
    `HASHED_BYTES`.
    """
    for problem in mismatches(model, math.inf if everything else HASHED_BYTES):
        raise problem
    for problem in edited(model) if everything else ():
        raise problem


def _wrong(
    path: Path | None, wanted: Checksum | None, hashed_bytes: float
) -> tuple[str, str] | None:
    """What was found and what was expected of one file; None if it is the one that was written."""
    if wanted is None:
        return f"a file that {DETAIL} has no checksum of", "the files of the conversion alone"
    if path is None:
        return "no such file among the backend's", f"the file that {DETAIL} has a checksum of"
    size = path.stat().st_size
    if size != wanted.bytes:
        return f"{size:,} bytes", f"{wanted.bytes:,} bytes, as the conversion wrote"
    if size <= hashed_bytes and (found := file_sha256(path)) != wanted.sha256:
        return f"SHA-256 {found[:16]}…", f"{wanted.sha256[:16]}…, of the file that was converted"
    return None
