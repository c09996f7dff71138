"""Files of a folder that are not those of the conversion are noticed before anyone runs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.checks import Level
from posedeploy.sdk.checksums import EDITABLE, checksums, mismatches, recorded
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.validate import validate

Content = dict[str, Any]
IMAGE = np.zeros((64, 48, 3), np.uint8)


def rewrite(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = folder / "end2end.onnx"
    path.write_bytes(change(path.read_bytes()))


def of_another_model(folders: Any) -> bytes:
    """A graph with the same inputs and outputs, of the same size, that computes something else."""
    graph = folders.graph("heatmap")
    graph.graph.node[0].op_type = "MaxPool"
    missing = folders.graph("heatmap").ByteSize() - graph.ByteSize()
    graph.doc_string = "x" * (missing - 2)  # two bytes are its tag and its length
    return bytes(graph.SerializeToString())


def test_another_models_file_under_the_same_name_is_an_error(folders: Any) -> None:
    folder = folders.make("heatmap")
    assert validate(folder) == []
    before = (folder / "end2end.onnx").stat().st_size
    rewrite(folder, lambda _: of_another_model(folders))
    assert (folder / "end2end.onnx").stat().st_size == before

    (finding,) = validate(folder)
    assert (finding.level, finding.file) == (Level.ERROR, "end2end.onnx")
    assert "SHA-256" in finding.found
    for verify in (None, True):
        with pytest.raises(BadInputError, match=r"end2end\.onnx: found SHA-256"):
            PoseDetector(folder, verify=verify)
    assert PoseDetector(folder, verify=False)(IMAGE).shape == (1, 3, 3)


def test_a_large_file_is_hashed_on_request_only_and_its_size_is_always_compared(
    folders: Any,
) -> None:
    folder = folders.make("heatmap")
    rewrite(folder, lambda _: of_another_model(folders))
    model, size = read_folder(folder), (folder / "end2end.onnx").stat().st_size
    assert not list(mismatches(model, size - 1))
    assert len(list(mismatches(model, size))) == 1
    rewrite(folder, lambda content: content + b"\0")
    (problem,) = mismatches(model, 0)
    assert (problem.found, problem.expected[:9]) == (f"{size + 1} bytes", f"{size} bytes")


def record_all(folder: Path) -> None:
    """The checksums of all files, as the conversion records them."""
    path = folder / "detail.json"
    detail = json.loads(path.read_text(encoding="utf-8"))
    detail["posedeploy"]["files"] = checksums(folder, ["end2end.onnx", *EDITABLE])
    path.write_text(json.dumps(detail), encoding="utf-8")


@pytest.mark.parametrize("name", EDITABLE)
def test_an_edited_json_file_is_a_warning_and_an_error_on_request_only(
    folders: Any, name: str
) -> None:
    folder = folders.make("heatmap")
    record_all(folder)
    assert validate(folder) == []
    assert PoseDetector(folder, verify=True)(IMAGE).shape == (1, 3, 3)

    text = (folder / name).read_text(encoding="utf-8")
    (folder / name).write_text(text.replace("{", "{ ", 1), encoding="utf-8")
    (finding,) = validate(folder)
    assert (finding.level, finding.file) == (Level.WARNING, name)
    assert "changed since the conversion" in finding.consequence
    for verify in (None, False):
        assert PoseDetector(folder, verify=verify)(IMAGE).shape == (1, 3, 3)
    with pytest.raises(BadInputError, match=rf"{name}: found .*what was edited"):
        PoseDetector(folder, verify=True)


def test_a_folder_without_checksums_is_read_and_a_note_tells(folders: Any) -> None:
    content = folders.json("heatmap")
    folder = folders.write(content)
    rewrite_with = folders.graph("heatmap").SerializeToString()
    (folder / "end2end.onnx").write_bytes(rewrite_with)
    (finding,) = validate(folder)
    assert (finding.level, finding.path) == (Level.NOTE, "$.posedeploy.files")
    assert PoseDetector(folder, verify=True)(IMAGE).shape == (1, 3, 3)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "a file that detail.json has no checksum of"),
        ({"end2end.bin": {"sha256": "0" * 64, "bytes": 0}}, "no such file"),
        ([], "[]"),
        ({"end2end.onnx": 7}, "7"),
        ({"end2end.onnx": {"sha256": 7, "bytes": 0}}, "7"),
        ({"end2end.onnx": {"sha256": "0" * 64, "bytes": True}}, "True"),
    ],
)
def test_a_record_that_does_not_fit_the_files(folders: Any, files: Any, found: str) -> None:
    content = folders.json("heatmap")
    content["detail.json"]["posedeploy"]["files"] = files
    folder = folders.write(content)
    (folder / "end2end.onnx").write_bytes(folders.graph("heatmap").SerializeToString())
    assert any(f.level is Level.ERROR and found in f.found for f in validate(folder))
    with pytest.raises(BadInputError):
        PoseDetector(folder)


def test_a_package_is_all_that_is_in_it(folders: Any) -> None:
    def package(content: Content) -> None:
        content["deploy.json"]["models"][0].update(net="end2end.mlpackage", backend="coreml")

    content = folders.json("heatmap")
    package(content)
    folder = folders.write(content)
    weights = folder / "end2end.mlpackage" / "Data" / "weight.bin"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    (folder / "end2end.mlpackage" / "Manifest.json").write_bytes(b"{}")
    sums = checksums(folder, ["end2end.mlpackage"])
    assert sums["end2end.mlpackage/Data/weight.bin"] == {
        "sha256": hashlib.sha256(b"weights").hexdigest(), "bytes": 7
    }  # fmt: skip
    content["detail.json"]["posedeploy"]["files"] = sums
    again = folders.write(content)
    (folder / "end2end.mlpackage").rename(again / "end2end.mlpackage")
    model = read_folder(again)
    assert not list(mismatches(model))
    (again / "end2end.mlpackage" / "Data" / "weight.bin").write_bytes(b"wEights")
    (again / "end2end.mlpackage" / "more").write_bytes(b"")
    assert [problem.subject for problem in mismatches(model)] == [
        "end2end.mlpackage/Data/weight.bin", "end2end.mlpackage/more"
    ]  # fmt: skip


def test_a_file_of_two_gigabytes_fits_into_the_record(folders: Any) -> None:
    content = folders.json("heatmap")
    size = 2 * 2**30
    content["detail.json"]["posedeploy"]["files"] = {"x": {"sha256": "0" * 64, "bytes": size}}
    sums = recorded(read_folder(folders.write(content)))
    assert sums is not None
    assert sums["x"].bytes == size
