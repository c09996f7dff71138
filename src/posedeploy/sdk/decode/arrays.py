"""Weights that a decoder needs: an uncompressed `.npz` in the folder, of float32 arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.safefiles import file_inside

MAX_ARRAY_BYTES = 64 * 2**20  # real ones have 3 MB
Shape = tuple[int | str, ...]  # equal letters are equal sizes


def read_arrays(
    folder: Path, name: str, subject: str, shapes: Mapping[str, Shape]
) -> dict[str, NDArray[np.float32]]:
    """The arrays of a file in the folder, by name; `subject` is where its name was read from.

    A BadInputError refuses a file outside the folder, one that is no such archive, and an array
    that is missing, of another shape or not finite.
    """
    arrays = _arrays(folder, name, subject)
    letters: dict[str, int] = {}
    for key, shape in shapes.items():
        _check(name, key, arrays.get(key), shape, letters)
    return arrays


def _arrays(folder: Path, name: str, subject: str) -> dict[str, NDArray[Any]]:
    """The arrays of an uncompressed `.npz`; the size of a compressed one would say nothing."""
    path = file_inside(folder, name, subject, limit=MAX_ARRAY_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise wrong_arrays(name, "compressed arrays")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise wrong_arrays(name, "arrays that are larger than the file together")
            return {e.filename.removesuffix(".npy"): _array(archive.read(e)) for e in entries}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, OSError) as error:
        raise wrong_arrays(name, f"no archive of arrays: {error}") from error


def _array(content: bytes) -> NDArray[Any]:
    """The array in a `.npy` file, without a copy; a ValueError where it says another size."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"format {version} of NumPy, and not (1, 0)")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    size = len(content) - file.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{dtype} of shape {list(shape)} in {size:,} bytes")
    array = np.frombuffer(content, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def _check(
    name: str,
    key: str,
    array: NDArray[Any] | None,
    shape: Shape,
    sizes: dict[str, int],
) -> None:
    """Refuse an array of another shape; equal letters are equal sizes."""
    if array is None:
        raise wrong_arrays(name, f"no array {key!r}")
    fits = array.dtype == np.float32 and array.ndim == len(shape) and array.size > 0
    for want, have in zip(shape, array.shape, strict=False):
        fits = fits and have == (sizes.setdefault(want, have) if isinstance(want, str) else want)
    if not fits or not np.isfinite(array).all():
        found = f"{key!r}: {array.dtype} of shape {list(array.shape)}"
        raise wrong_arrays(name, found, f"finite float32 of shape [{', '.join(map(str, shape))}]")


def wrong_arrays(
    name: str, found: str, expected: str = "an uncompressed .npz of arrays"
) -> BadInputError:
    """The error to raise for the file `name`."""
    return BadInputError(name, found, expected, "Convert the model again.")
