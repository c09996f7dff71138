"""numpy arrays in checkpoints: read whatever they hold, and never trusted."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posedeploy.errors import BadInputError
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.pickled_arrays import plain

CODES = (
    "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "f16", "c8", "c16",
    "S3", "U3", "M8[s]", "M8", "m8[3h]", ">f8", ">i4", "O",
)  # fmt: skip
SHAPES: Sequence[tuple[int, ...]] = ((), (0,), (0, 3), (2,), (2, 3))


def loaded(path: Path, value: Any) -> Any:
    """A value in the `dataset_meta` of a checkpoint, written and read."""
    meta = {"dataset_meta": {"value": value}}
    torch.save({"meta": meta, "state_dict": {"a": torch.zeros(1)}}, path / "a.pth")
    return load_checkpoint(path / "a.pth").meta["dataset_meta"]["value"]


@pytest.mark.parametrize("code", CODES)
def test_arrays_and_scalars_of_every_type(code: str, tmp_path: Path) -> None:
    for shape in SHAPES:
        array = np.arange(1, 1 + int(np.prod(shape))).astype(code).reshape(shape)
        for value in (array, np.asfortranarray(array)):
            read = loaded(tmp_path, value)
            np.testing.assert_array_equal(read, value)
            assert read.dtype == value.dtype.newbyteorder("=")
        if shape == () and code != "O":
            scalar = array[()]
            assert loaded(tmp_path, scalar) == scalar


def test_scalars_without_a_byte(tmp_path: Path) -> None:
    assert loaded(tmp_path, np.str_("")) == ""
    assert loaded(tmp_path, np.bytes_(b"")) == b""


class Crafted:
    """An array whose dtype has other flags than numpy gives it, and whose content is bytes."""

    def __init__(self, code: str, flags: int, content: Any = b"A" * 8) -> None:
        self.code, self.flags, self.content = code, flags, content

    def __reduce__(self) -> tuple[Any, ...]:
        dtype = CraftedDtype(self.code, self.flags)
        reconstruct = np.empty(0).__reduce__()[0]
        return reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), dtype, False, self.content)


class CraftedDtype:
    def __init__(self, code: str, flags: int, names: Any = None) -> None:
        self.code, self.state = code, (3, "|", None, names, None, -1, -1, flags)

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, (self.code, False, True), self.state


def test_flags_of_a_dtype_are_not_believed(tmp_path: Path) -> None:
    """An array of objects that is not said to be one: its bytes would be taken for addresses."""
    with pytest.raises(BadInputError, match="cannot read"):
        loaded(tmp_path, Crafted("O8", flags=0))
    read = loaded(tmp_path, Crafted("f8", flags=63))  # numbers that are said to be objects
    assert read.dtype == np.dtype("f8")
    assert read.dtype.flags == np.dtype("f8").flags


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, [("a", "f4")]), np.zeros(2, "V4"), np.zeros((), [("a", "O")])[()],
        np.ma.masked_array([1.0]), CraftedDtype("i8", 0, names=("a",)), CraftedDtype("i4,O", 0),
        Crafted("f8", 0, b"A" * 7), Crafted("i4", 0, []),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_records_and_what_does_not_fit_are_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="checkpoint"):
        loaded(tmp_path, value)


def test_plain_needs_no_numpy(tmp_path: Path) -> None:
    meta = {
        "sigmas": np.full(2, 0.5, np.float32), "colors": np.zeros((1, 3), np.uint8),
        "links": [np.zeros((0, 2), int)], "num_keypoints": np.int64(2),
        "pair": ("a", np.float32(1)),
    }  # fmt: skip
    expected = {
        "sigmas": [0.5, 0.5], "colors": [[0, 0, 0]], "links": [[]], "num_keypoints": 2,
        "pair": ("a", 1.0),
    }  # fmt: skip
    assert loaded(tmp_path, plain(meta)) == expected
    with zipfile.ZipFile(tmp_path / "a.pth") as file:
        (name,) = (name for name in file.namelist() if name.endswith("data.pkl"))
        strings = {argument for _, argument, _ in pickletools.genops(file.read(name))}
    assert not [text for text in strings if "numpy" in str(text)]
