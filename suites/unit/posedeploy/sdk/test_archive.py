"""SDK models in zips, as OpenMMLab publishes them: read as the folder is, and never outside."""

from __future__ import annotations

import gc
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector, archive
from posedeploy.sdk.checks import Level
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.safefiles import MAX_PACKAGE_ENTRIES
from posedeploy.sdk.validate import validate
from posedeploy.synthetic.figures import draw_figure


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(folder.iterdir()):
            target.write(file, f"{inside}{file.name}")
    return path


@pytest.mark.parametrize("inside", ["", "rtmpose/", "20230831/rtmpose_onnx/rtmpose-m/"])
def test_a_zip_is_read_as_the_folder_in_it(folders: Any, tmp_path: Path, inside: str) -> None:
    folder = folders.make("simcc")
    path = zipped(folder, tmp_path / "model.zip", inside)
    image = draw_figure(1, (64, 64))[0]
    assert [f.level for f in validate(path)] == [f.level for f in validate(folder)]
    with PoseDetector(folder) as one, PoseDetector(path) as other:
        assert (one(image) == other(image)).all()
        assert {p.name for p in other.model.folder.iterdir()} == {p.name for p in folder.iterdir()}
        assert other.model.folder.name == "model"


def test_what_was_unpacked_is_removed_when_nothing_uses_it(folders: Any, tmp_path: Path) -> None:
    path = zipped(folders.make("simcc"), tmp_path / "model.zip")
    model = read_folder(path)
    there = model.folder
    archive._unpacked.cache_clear()
    gc.collect()
    assert there.is_dir()
    del model
    gc.collect()
    assert not there.exists()


def test_a_zip_that_was_replaced_is_read_anew(folders: Any, tmp_path: Path) -> None:
    path = zipped(folders.make("simcc"), tmp_path / "model.zip")
    assert read_folder(path).component == "SimCCLabelDecode"
    path.unlink()
    zipped(folders.make("heatmap"), path)
    assert read_folder(path).component == "TopdownHeatmapSimpleHeadDecode"


def write(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return path


def linked(path: Path) -> Path:
    entry = zipfile.ZipInfo("end2end.onnx")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("deploy.json", "{}")
        target.writestr(entry, "/etc/passwd")
    return path


def locked(path: Path) -> Path:
    data = bytearray(write(path, **{"deploy.json": "{}"}).read_bytes())
    data[6] |= 1  # flags of the local header, and of the central directory's entry
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def broken(path: Path) -> Path:
    data = bytearray(write(path, **{"deploy.json": "{}" * 50}).read_bytes())
    data[60] ^= 0xFF  # in the content: its CRC is another
    path.write_bytes(data)
    return path


def not_a_zip(path: Path) -> Path:
    path.write_text("<!DOCTYPE html><html>not found</html>")
    return path


def large(path: Path) -> Path:
    data = bytearray(write(path, **{"deploy.json": "{}"}).read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # uncompressed size, which is all that is read of it
    data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    return path


MANY = {f"{i}": "" for i in range(MAX_PACKAGE_ENTRIES + 1)}
# ---- modify this table to add a zip that is refused ------------------------------------------
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a device": (linked, "a link or a device"),
    "a letter of a drive": (lambda p: write(p, **{"deploy.json": "", "C:/x": ""}), "leads out"),
    "a password": (locked, "with a password"),
    "absolute": (lambda p: write(p, **{"deploy.json": "", "/etc/x": ""}), "leads out"),
    "backslashes": (lambda p: write(p, **{"deploy.json": "", "..\\..\\x": ""}), "leads out"),
    "damaged": (broken, "a damaged zip"),
    "no model": (lambda p: write(p, **{"readme.txt": ""}), "no deploy.json in it"),
    "no zip": (not_a_zip, "a web page of"),
    "several models": (
        lambda p: write(p, **{"a/deploy.json": "", "b/deploy.json": ""}), "2 files deploy.json",
    ),
    "too large": (large, "files of 4,294,967,280 bytes"),
    "too many": (lambda p: write(p, **MANY), "1,001 files"),
    "upwards": (lambda p: write(p, **{"deploy.json": "", "a/../../x": ""}), "leads out"),
}  # fmt: skip
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", REFUSED)
def test_a_dangerous_or_damaged_zip_is_refused_by_name(case: str, tmp_path: Path) -> None:
    make, found = REFUSED[case]
    path = make(tmp_path / "model.zip")
    with pytest.raises(BadInputError) as caught:
        read_folder(path)
    assert found in caught.value.found
    assert caught.value.subject == str(path)
    assert [finding.level for finding in validate(path)] == [Level.ERROR]
    assert {p.name for p in tmp_path.iterdir()} == {"model.zip"}


def test_a_file_in_the_folder_stands_for_it(folders: Any) -> None:
    folder = folders.make("simcc")
    for name in ("end2end.onnx", "deploy.json"):
        assert read_folder(folder / name).folder == folder
        assert validate(folder / name) == validate(folder)
