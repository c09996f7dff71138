"""Detectors of several classes on the command line: a row a case, with its exit code and words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from fixtures.commands import enter
from fixtures.tiny_models import TinyModel
from posedeploy.apis import comparing
from posedeploy.apis.deploying import deploy
from posedeploy.apis.matching import Keypoints, classes_of
from posedeploy.apis.reference import with_classes
from posedeploy.cli import main
from posedeploy.sdk.images import read_image
from posedeploy.sdk.reading import ImageSource
from posedeploy.synthetic.figures import draw_figure

YOLOX = "pose-detection_yolox-pose_onnxruntime_static"
TWO = "yoloxpose_tiny/2"


@dataclass(frozen=True)
class Case:
    """A command line, its exit code, and what it prints."""

    words: str
    code: int
    printed: tuple[str, ...]


# ---- modify this table to add a case --------------------------------------------------------
# fmt: off
CASES: Mapping[str, Case] = {
    "calibrated weights": Case(
        f"convert {YOLOX} two.py calibrated photo.png --work-dir out", 0, ("same keypoints",)),
    "a checkpoint of one class": Case(
        f"convert {YOLOX} two.py one.pth photo.png --work-dir out", 2,
        ("head.head_module.out_cls.0.weight",)),
    "a checkpoint of two classes for one": Case(
        f"convert {YOLOX} one.py two.pth photo.png --work-dir out", 2,
        ("head.head_module.out_cls.0.weight",)),
    "a folder that is right": Case("validate sdk", 0, ("nothing wrong",)),
    "a graph that has lost the class": Case(
        "validate lost", 1, ("'dets' of shape [1, 100, 5]", "6 in the last dimension: 2 classes")),
    "a folder that has lost the number": Case(
        "validate silent", 1, ("'dets' of shape [1, 100, 6]", "5 in the last dimension: 1 class")),
    "names of other classes": Case(
        "validate renamed", 1, ("3 names", "2, as num_classes has")),
}
# fmt: on
# ---------------------------------------------------------------------------------------------


def with_model(folder: Path, target: Path, names: list[str] | None = None, **facts: int) -> None:
    """A copy of a folder with other facts of its model in `detail.json`."""
    shutil.copytree(folder, target)
    path = target / "detail.json"
    detail = json.loads(path.read_text(encoding="utf-8"))
    ours = detail["posedeploy"]
    ours["model"].pop("num_classes", None)
    ours["model"] |= facts
    ours["dataset_meta"].pop("class_names", None)
    if names:
        ours["dataset_meta"]["class_names"] = names
    path.write_text(json.dumps(detail), encoding="utf-8")


@pytest.fixture(scope="module")
def desk(
    tiny_model: Callable[[str], TinyModel],
    tiny_sdk: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    for word, name in (("one", "yoloxpose_tiny"), ("two", TWO)):
        shutil.copy(tiny_model(name).config, folder / f"{word}.py")
        shutil.copy(tiny_model(name).checkpoint, folder / f"{word}.pth")
    (folder / "sdk").symlink_to(tiny_sdk(TWO))
    with_model(tiny_sdk("yoloxpose_tiny"), folder / "lost", num_classes=2)
    with_model(tiny_sdk(TWO), folder / "silent")
    with_model(tiny_sdk(TWO), folder / "renamed", ["a", "b", "c"], num_classes=2)
    cv2.imwrite(str(folder / "photo.png"), draw_figure(3, (120, 90))[0])
    return folder


@pytest.mark.parametrize("name", CASES)
def test_what_a_command_ends_with(
    name: str,
    desk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enter(tmp_path, desk, monkeypatch, columns=300)
    with pytest.raises(SystemExit) as caught:
        main(CASES[name].words.split())
    out, err = capsys.readouterr()
    assert caught.value.code == CASES[name].code, out + err
    assert not [words for words in CASES[name].printed if words not in out + err], out + err
    assert "Traceback" not in out + err


def as_found(keypoints: Keypoints) -> Keypoints:
    return keypoints


def swapped(keypoints: Keypoints) -> Keypoints:
    labels = classes_of(keypoints)
    assert labels is not None
    return with_classes(keypoints[..., :3], 1 - labels)


def one_other(keypoints: Keypoints) -> Keypoints:
    keypoints[-1, :, 3] = 1 - keypoints[-1, :, 3]
    return keypoints


def lost(keypoints: Keypoints) -> Keypoints:
    return keypoints[..., :3]


@pytest.mark.parametrize(
    ("change", "same"), [(as_found, True), (swapped, False), (one_other, False), (lost, False)]
)
def test_the_comparison_of_a_conversion_sees_another_class(
    change: Callable[[Keypoints], Keypoints], same: bool,
    desk: Path, tmp_path: Path,
) -> None:  # fmt: skip
    def find(folder: Path, source: ImageSource) -> Keypoints:
        return change(comparing.sdk_keypoints(folder, source))

    image = read_image(desk / "photo.png")
    done = deploy(
        YOLOX, desk / "two.py", desk / "two.pth", tmp_path / "out", images=(image,), find=find
    )
    assert [one.distances.same for one in done.compared] == [same]
