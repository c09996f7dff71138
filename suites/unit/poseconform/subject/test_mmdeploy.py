"""MMDeploy as a subject, with a checkout and an interpreter that stand for its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.fake_mmdeploy import FakeMMDeploy, fake_mmdeploy
from fixtures.mmdeploy_folders import mmdeploy_folder
from fixtures.tiny_judge import TinyJudge
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.judge.stages import StageFailure, Unavailable
from poseconform.matrix.cells import Cell
from poseconform.planted.defects import first_failure
from poseconform.subject.environment import Availabilities, package_versions
from poseconform.subject.mmdeploy import DEPLOY_CONFIGS, MMDeploy
from poseconform.subject.protocol import NotConvertibleError
from posedeploy.config import config_root
from posedeploy.runtime import Availability, Code

OTHER_WARP = """
import cv2
_warp, cv2.__version__ = cv2.warpAffine, "4.8.1"
cv2.warpAffine = lambda *args, **words: _warp(*args, **words) ^ 1
"""


@pytest.fixture
def fake(tmp_path: Path) -> FakeMMDeploy:
    return fake_mmdeploy(tmp_path / "mmdeploy")


def subject_of(fake: FakeMMDeploy, **options: object) -> MMDeploy:
    named = {"python": str(fake.python), "checkout": str(fake.checkout)}
    return MMDeploy(**{**named, **options})  # type: ignore[arg-type]


def spec_of(fake: FakeMMDeploy) -> str:
    options = f"python={fake.python}&checkout={fake.checkout}"
    return f"poseconform.subject.mmdeploy:MMDeploy?{options}"


@pytest.fixture
def judged(tiny_judge: TinyJudge, fake: FakeMMDeploy) -> Cell:
    """The tiny model's cell; MMDeploy writes a folder that finds the same keypoints."""
    cell = tiny_judge.cell("rtmpose_t", subject_of(fake))
    ours = tiny_judge.judge.conversion(tiny_judge.cell("rtmpose_t")).folder
    mmdeploy_folder(ours, fake.made)
    # MMDeploy writes it always; the field is of the toolchain
    (fake.made / "detail.json").write_text('{"version": "1.3.1"}', encoding="utf-8")
    return cell


def test_its_deploy_configs_are_those_that_are_kept_under_mmdeploys_names() -> None:
    files = {path.stem for path in config_root().glob("*.py")}
    assert set(DEPLOY_CONFIGS) == files - {"pose-detection_static"}
    flows = MMDeploy().flows()
    assert [flow.deploy_config for flow in flows] == sorted(DEPLOY_CONFIGS)
    assert not any(flow.host_suppression for flow in flows)


def test_what_it_writes_is_judged(tiny_judge: TinyJudge, judged: Cell, fake: FakeMMDeploy) -> None:
    judge = tiny_judge.of(spec_of(fake))
    assert first_failure(judge, judged) is None
    assert fake.calls == ["rtmpose_t.py cpu"]
    conversion = judge.conversion(judged)
    assert set(conversion.files) == {"deploy.json", "detail.json", "end2end.onnx", "pipeline.json"}
    assert conversion.convert["made"]
    again = tiny_judge.of(spec_of(fake)).conversion(judged)
    assert (again.folder, again.convert["made"]) == (conversion.folder, False)
    assert len(fake.calls) == 1, "the second time from the cache"


def test_a_folder_that_is_wrong_is_found(
    tiny_judge: TinyJudge, judged: Cell, fake: FakeMMDeploy
) -> None:
    path = fake.made / "pipeline.json"
    path.write_text(path.read_text().replace("123.675", "0.485"))
    caught = first_failure(tiny_judge.of(spec_of(fake)), judged)
    assert caught is not None
    assert caught.check == "client"


@pytest.mark.parametrize(("wrote", "stage"), [(False, "export"), (True, "convert")])
def test_its_failure_is_that_of_a_stage(
    tiny_judge: TinyJudge, judged: Cell, fake: FakeMMDeploy, wrote: bool, stage: str
) -> None:
    (fake.made / "fails").touch()
    if not wrote:
        fake.made.rename(fake.checkout / "gone")
    with pytest.raises(StageFailure, match=r"tools/deploy.py ended with exit code 1") as caught:
        tiny_judge.of(spec_of(fake)).conversion(judged)
    assert caught.value.stage == stage
    assert ("torch2onnx failed" in caught.value.log_tail) is not wrote


@pytest.mark.parametrize(
    ("fields", "exporter", "reason"),
    [
        ({"precision": "int8"}, "", "MMDeploy calibrates int8 with a data set"),
        ({}, "dynamo", "TorchScript's exporter alone"),
        ({"deploy_config": "pose-detection_rtmo_ncnn_static"}, "", "has no deploy config"),
    ],
)  # fmt: skip
def test_a_cell_that_mmdeploy_lacks_is_unavailable(
    fake: FakeMMDeploy, judged: Cell, tmp_path: Path, fields: dict[str, str], exporter: str,
    reason: str,
) -> None:  # fmt: skip
    cell = replace(judged, flow=replace(judged.flow, **fields))  # type: ignore[arg-type]
    with pytest.raises(NotConvertibleError, match=reason) as caught:
        subject_of(fake).convert(cell, "none.pth", exporter, ArtifactCache(tmp_path / "cache"))
    assert caught.value.unavailable == "tool-missing"
    assert fake.calls == []


def test_such_a_cell_is_unavailable_for_each_of_its_checks(
    tiny_judge: TinyJudge, judged: Cell, fake: FakeMMDeploy
) -> None:
    judge = replace(tiny_judge.of(spec_of(fake)), exporter="dynamo")
    for _ in range(2):
        with pytest.raises(Unavailable, match="unavailable:tool-missing: MMDeploy exports with"):
            judge.conversion(judged)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"python": ""}, "no python: add ?python=FILE&checkout=DIR to --subject"),
        ({"checkout": ""}, "no checkout: add"),
        ({"checkout": "/nowhere"}, "checkout=/nowhere: found no tools/deploy.py"),
        ({"python": "/nowhere/python"}, "python=/nowhere/python: [Errno 2]"),
        ({"python": sys.executable}, "it cannot import MMDeploy: ModuleNotFoundError"),
        ({"python": "/bin/true"}, "it cannot import MMDeploy: no message"),
    ],
)
def test_without_mmdeploy_a_backend_is_unavailable_with_a_code(
    fake: FakeMMDeploy, options: dict[str, str], reason: str
) -> None:
    subject = subject_of(fake, **options)
    found = subject.conversion_availability("onnxruntime")
    assert found.code is Code.TOOL_MISSING
    assert reason in found.reason
    here = Availability(Code.AVAILABLE)
    running = Availabilities(subject, probe=lambda *_: here).of("onnxruntime")
    assert running.code is Code.TOOL_MISSING
    assert f"MMDeploy ({found.reason}) is not installed" in running.reason
    versions = subject.versions()
    assert versions["mmdeploy"] == "none"
    assert versions["torch"] == package_versions(["torch"])["torch"]
    assert "mmdeploy: compared" not in versions


def test_backends_are_those_of_its_interpreter(fake: FakeMMDeploy) -> None:
    subject = subject_of(fake)
    assert subject.conversion_availability("onnxruntime") == Availability(
        Code.AVAILABLE, "", "1.3.1"
    )
    for name in ("openvino", "ncnn"):
        found = subject.conversion_availability(name)
        assert (found.code, name in found.reason) == (Code.NOT_INSTALLED, True)
    assert subject.builds_for_device("tensorrt")
    assert not subject.builds_for_device("openvino")


@pytest.mark.parametrize(
    ("prelude", "compared"),
    [
        ("", "images and keypoints: MMDeploy's interpreter warps like this environment"),
        (OTHER_WARP, "network inputs only: OpenCV 4.8.1 of MMDeploy's interpreter warps unlike"),
        ("import sys; sys.modules['cv2'] = None", "network inputs only: MMDeploy's interpreter"),
    ],
)
def test_versions_say_what_is_compared(tmp_path: Path, prelude: str, compared: str) -> None:
    versions = subject_of(fake_mmdeploy(tmp_path / "mmdeploy", prelude)).versions()
    assert versions["mmdeploy: compared"].startswith(compared)
    assert versions["mmdeploy"] == "1.3.1"
    assert versions["mmdeploy: numpy"] == versions["numpy"]
