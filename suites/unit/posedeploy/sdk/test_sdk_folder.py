"""Reading a folder that nobody vouches for."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk import DatasetMeta, read_folder
from posedeploy.sdk.fields import Node
from posedeploy.sdk.safefiles import MAX_JSON_BYTES, file_inside, read_json

Change = Callable[[dict[str, Any]], object]


def entry(content: dict[str, Any]) -> dict[str, Any]:
    return content["deploy.json"]["models"][0]  # type: ignore[no-any-return]


def drop(key: str, content: dict[str, Any]) -> None:
    del entry(content)[key]


def task(content: dict[str, Any], index: int) -> dict[str, Any]:
    return content["pipeline.json"]["pipeline"]["tasks"][index]  # type: ignore[no-any-return]


def meta(content: dict[str, Any]) -> dict[str, Any]:
    return content["detail.json"]["posedeploy"]["dataset_meta"]  # type: ignore[no-any-return]


def test_a_whole_folder_is_read(folders: Any) -> None:
    model = read_folder(folders.make("simcc"))
    assert model.version == "1.3.1"
    assert model.task == "PoseDetector"
    assert model.model.backend == "onnxruntime"
    assert model.model.dynamic_shape
    assert model.precision == "fp32"
    assert model.input_map == {"img": "input"}
    assert model.component == "SimCCLabelDecode"
    assert [step.value["type"] for step in model.transforms][:3] == [
        "LoadImageFromFile", "TopDownGetBboxCenterScale", "TopDownAffine"
    ]  # fmt: skip
    assert [path.name for path in model.backend_files()] == ["end2end.onnx"]
    assert model.dataset_meta == DatasetMeta(
        dataset_name="three",
        keypoint_names=("nose", "left", "right"),
        skeleton_links=((0, 1), (0, 2)),
        sigmas=(0.1, 0.2, 0.3),
        keypoint_colors=((255, 0, 0),) * 3,
        skeleton_link_colors=((0, 0, 255),) * 2,
        flip_pairs=((1, 2),),
    )


def test_what_clients_do_without_may_be_missing(folders: Any) -> None:
    """The list is the first row of the JSON table in the facts about mmdeploy-runtime 1.3.1."""

    def strip(content: dict[str, Any]) -> None:
        del (
            content["detail.json"],
            content["deploy.json"]["task"],
            content["deploy.json"]["customs"],
        )
        del task(content, 0)["name"], task(content, 2)["name"], task(content, 2)["params"]
        del task(content, 1)["is_batched"], task(content, 1)["output_map"]
        task(content, 1)["comment"] = "unknown fields are ignored"

    model = read_folder(folders.make("simcc", strip))
    assert model.output_map == {}
    assert model.params.value == {}
    assert model.dataset_meta == DatasetMeta()


BROKEN: dict[str, tuple[Change, str]] = {
    "no models": (lambda c: c["deploy.json"].update(models=[]), r"\$\.models: found 0 models"),
    "two models": (lambda c: c["deploy.json"]["models"].append({}), "2 models"),
    "no version": (lambda c: c["deploy.json"].pop("version"), "version"),
    "version 1.3": (lambda c: c["deploy.json"].update(version=1.3), r"\$\.version: found 1.3"),
    **{
        f"no {key}": (partial(drop, key), f"'{key}'")
        for key in (
            "name",
            "net",
            "weights",
            "backend",
            "precision",
            "batch_size",
            "dynamic_shape",
        )
    },
    "batch_size 0": (lambda c: entry(c).update(batch_size=0), "batch_size"),
    "batch_size true": (lambda c: entry(c).update(batch_size=True), "an integer"),
    "precision 4 bit": (lambda c: entry(c).update(precision="INT4"), "precision"),
    "dynamic_shape 1": (lambda c: entry(c).update(dynamic_shape=1), "true or false"),
    "another name": (lambda c: entry(c).update(name="x"), r"tasks\[1\]\.name: found 'topdown"),
    "no pipeline": (lambda c: c["pipeline.json"].pop("pipeline"), "'pipeline'"),
    "no tasks": (lambda c: c["pipeline.json"]["pipeline"].update(tasks=[]), "modules none"),
    "a task twice": (
        lambda c: c["pipeline.json"]["pipeline"]["tasks"].append(task(c, 1)),
        r"tasks\[3\]\.module",
    ),
    "tasks no array": (lambda c: c["pipeline.json"]["pipeline"].update(tasks={}), "an array"),
    "no type": (lambda c: task(c, 1).pop("type"), "'type'"),
    "net disconnected": (lambda c: task(c, 1).update(input=["x"]), "connect the tasks"),
    "output disconnected": (lambda c: task(c, 2).update(output=[]), "connect the tasks"),
    "no component": (lambda c: task(c, 2).pop("component"), "'component'"),
    "transform without type": (
        lambda c: task(c, 0)["transforms"][1].pop("type"),
        r"transforms\[1\]",
    ),
    "input_map of numbers": (lambda c: task(c, 1).update(input_map={"img": 0}), "input_map.img"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_error_names_the_file_and_the_json_path(folders: Any, what: str) -> None:
    change, failure = BROKEN[what]
    with pytest.raises(BadInputError, match=failure) as caught:
        read_folder(folders.make("simcc", change))
    assert caught.value.subject.startswith(("deploy.json: $", "pipeline.json: $"))


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda m: m.update(skeleton_links=[[0, 3]]), r"skeleton_links\[0\]"),
        (lambda m: m.update(skeleton_links=[[0]]), "two keypoint indices from 0 to 2"),
        (lambda m: m.update(keypoint_colors=[[0, 0, 256]]), "each from 0 to 255"),
        (lambda m: m.update(keypoint_names=[1]), r"keypoint_names\[0\]"),
        (lambda m: m.update(sigmas=[0] * 10_001), "at most 10000 entries"),
    ],
)
def test_dataset_meta_of_the_wrong_form_is_refused(
    folders: Any, change: Change, failure: str
) -> None:
    model = read_folder(folders.make("simcc", lambda content: change(meta(content))))
    with pytest.raises(BadInputError, match=failure):
        _ = model.dataset_meta


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nothing there"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="no directory"):
        read_folder(tmp_path / "file")
    with pytest.raises(BadInputError, match=r"deploy\.json.*no such file"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/../../secret", "", "C:\\x", "..\\x", "a\0b", "x" * 300],
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    with pytest.raises(BadInputError, match="the folder itself"):
        file_inside(folder, name, "deploy.json: $.models[0].net")


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path: Path, folders: Any) -> None:
    folder = folders.make("simcc")
    (tmp_path / "elsewhere").mkdir()
    for name in ("end2end.onnx", "detail.json"):
        outside = tmp_path / "elsewhere" / name
        os.replace(folder / name, outside)
        (folder / name).symlink_to(outside)
    with pytest.raises(BadInputError, match=r"detail\.json.*a link to"):
        read_folder(folder)
    (folder / "detail.json").unlink()
    with pytest.raises(BadInputError, match=r"end2end\.onnx.*a link to"):
        read_folder(folder).backend_files()


def test_links_within_the_folder_and_to_the_folder_are_followed(
    tmp_path: Path, folders: Any
) -> None:
    folder = folders.make("simcc")
    os.replace(folder / "end2end.onnx", folder / "real.onnx")
    (folder / "end2end.onnx").symlink_to("real.onnx")
    (tmp_path / "alias").symlink_to(folder)
    assert read_folder(tmp_path / "alias").backend_files()[0].name == "real.onnx"


def test_a_loop_of_links_is_refused(folders: Any) -> None:
    folder = folders.make("simcc")
    (folder / "detail.json").unlink()
    (folder / "detail.json").symlink_to("detail.json")
    with pytest.raises(BadInputError, match=r"detail\.json"):
        read_folder(folder)


def test_what_is_no_regular_file_is_not_opened(folders: Any) -> None:
    folder = folders.make("simcc")
    for name in ("detail.json", "end2end.onnx"):
        (folder / name).unlink()
        os.mkfifo(folder / name)  # reading it would wait for ever
    with pytest.raises(BadInputError, match="not a regular file"):
        read_folder(folder)
    (folder / "detail.json").unlink()
    with pytest.raises(BadInputError, match="not a regular file"):
        read_folder(folder).backend_files()


def test_a_weights_file_belongs_to_the_backends_files(folders: Any) -> None:
    folder = folders.make("simcc", lambda content: entry(content).update(weights="end2end.bin"))
    with pytest.raises(BadInputError, match=r"models\[0\]\.weights.*no such file"):
        read_folder(folder).backend_files()
    (folder / "end2end.bin").write_bytes(b"x")
    assert [p.name for p in read_folder(folder).backend_files()] == ["end2end.onnx", "end2end.bin"]


def test_an_mlpackage_is_a_directory(tmp_path: Path) -> None:
    package = tmp_path / "end2end.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "weights").write_bytes(b"12345")
    assert file_inside(tmp_path, package.name, "net") == package.resolve()
    with pytest.raises(BadInputError, match="too large"):
        file_inside(tmp_path, package.name, "net", limit=1)
    (package / "link").symlink_to("/")
    with pytest.raises(BadInputError, match="is a link"):
        file_inside(tmp_path, package.name, "net")


@pytest.mark.parametrize(
    ("content", "failure"),
    [
        (b"\xff\xfe{}", "not UTF-8, at byte 0"),
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"[]", "a JSON list"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "larger than a double"),
        (b'{"a": ' + b"9" * 5000 + b"}", "larger than a double"),
        (rb'{"a": "\ud800"}', "half of a surrogate pair"),
        (rb'{"\udfff": 1}', "half of a surrogate pair"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 32"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper than 32"),
        (b" " * (MAX_JSON_BYTES + 1), "at most"),
    ],
)
def test_json_is_read_strictly(tmp_path: Path, content: bytes, failure: str) -> None:
    (tmp_path / "deploy.json").write_bytes(content)
    with pytest.raises(BadInputError, match=failure) as caught:
        read_json(tmp_path, "deploy.json")
    assert "deploy.json" in str(caught.value)


def test_fields_tell_bools_from_numbers() -> None:
    node = Node({"flag": True, "count": 3, "text": "t" * 200, "size": [3, 4]}, "f.json")
    assert node.get("flag", bool, False) is True
    assert node.get("missing", int, 7) == 7
    assert node.at("count").is_a(float) == 3
    assert node.size("size") == (3, 4)
    assert node.at("count").one_of([3]) == 3
    for key, kind in (("flag", int), ("flag", float), ("count", bool), ("text", int)):
        with pytest.raises(BadInputError, match=rf"f\.json: \$\.{key}"):
            node.at(key).is_a(kind)
    with pytest.raises(BadInputError, match=r"'t+\.\.\.; expected one of"):
        node.at("text").one_of(["a"])
    with pytest.raises(BadInputError, match="one of 1"):
        node.at("flag").one_of([1])
