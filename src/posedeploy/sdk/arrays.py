"""Arrays that a post-processing component reads from a file of an SDK model folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.safefiles import file_inside

MAX_ARRAY_BYTES = 256 * 2**20  # real ones have 3 MB

Shape = tuple[int | str, ...]


def read_arrays(
    folder: Path, name: str, subject: str, shapes: Mapping[str, Shape]
) -> dict[str, NDArray[np.float32]]:
    """Read an uncompressed `.npz` of float32 arrays.

    Args:
        folder: The SDK model folder.
        name: File name as the JSON has it.
        subject: File and JSON path that `name` was read from, for messages.
        shapes: What must be in it: name -> shape; equal letters stand for equal sizes.

    Raises:
        BadInputError: The file leads out of the folder, is no such archive, is compressed (its
            size would then say nothing), or an array is missing, of another shape or not finite.
    """
    path = file_inside(folder, name, subject, limit=MAX_ARRAY_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
        arrays = _load(path) if stored else None
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError) as error:
        raise _wrong(name, f"no archive of arrays: {error}") from error
    if arrays is None:
        raise _wrong(name, "compressed arrays")
    sizes: dict[str, int] = {}
    for key, shape in shapes.items():
        _check(name, key, arrays.get(key), shape, sizes)
    return arrays


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(path, allow_pickle=False) as data:
        return {key: np.asarray(data[key]) for key in data.files}


def _check(
    name: str, key: str, array: NDArray[Any] | None, shape: Shape, sizes: dict[str, int]
) -> None:
    if array is None:
        raise _wrong(name, f"no array {key!r}")
    fits = array.dtype == np.float32 and array.ndim == len(shape) and array.size > 0
    for want, have in zip(shape, array.shape, strict=False):
        fits = fits and have == (sizes.setdefault(want, have) if isinstance(want, str) else want)
    if not fits or not np.isfinite(array).all():
        found = f"{key!r}: {array.dtype} of shape {list(array.shape)}"
        raise _wrong(name, found, f"finite float32 of shape [{', '.join(map(str, shape))}]")


def _wrong(
    name: str, found: str, expected: str = "an uncompressed .npz of arrays"
) -> BadInputError:
    return BadInputError(name, found, expected, "Convert the model again.")
