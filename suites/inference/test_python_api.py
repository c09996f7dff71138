"""The snippet of `docs/python-api.md`, as it stands, for a model of each family."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import posedeploy
from fixtures.images import photograph
from posedeploy.sdk.images import read_image
from posedeploy.zoo.table import config_path, model_row

pytestmark = pytest.mark.onnxruntime

PAGE = Path(__file__).parents[2] / "docs" / "python-api.md"
PAGE_CONFIG, PAGE_MODEL = "pose-detection_onnxruntime_static", "hrnet_w32"
FOLDER = Path("posedeploy_models/mmpose/ort")
# fp32: rounding moves a place by less than 0.1 input px unless two places tie (suites/parity
# tells those apart); the image is twice the input's size.
SAME_PX, NEAR_TIES = 0.5, 0.06


@dataclass(frozen=True)
class Subject:
    """A model of a family and the deploy config for it."""

    model: str
    deploy_config: str


# fmt: off
SUBJECTS = (
    Subject("hourglass52",       "pose-detection_onnxruntime_static"),
    Subject("hrnet_w32",         "pose-detection_onnxruntime_static"),
    Subject("litehrnet_18",      "pose-detection_onnxruntime_static"),
    Subject("mspn50",            "pose-detection_onnxruntime_static"),
    Subject("rtmo_t",            "pose-detection_rtmo_onnxruntime_dynamic"),
    Subject("rtmpose_t",         "pose-detection_simcc_onnxruntime_dynamic"),
    Subject("simcc_mobilenetv2", "pose-detection_simcc_onnxruntime_static"),
    Subject("yoloxpose_tiny",    "pose-detection_yolox-pose_onnxruntime_static"),
)
# fmt: on


def snippet() -> str:
    blocks: list[str] = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    return next(block for block in blocks if "build_task_processor" in block)


def run_snippet(subject: Subject) -> dict[str, Any]:
    code = snippet()
    page_file = Path(config_path(model_row(PAGE_MODEL))).name
    for old, new in (
        (PAGE_CONFIG, subject.deploy_config),
        (page_file, Path(config_path(model_row(subject.model))).name),
    ):
        assert old in code
        code = code.replace(old, new)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    return names


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.model)
def test_the_snippet_gives_what_mmpose_gives(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = Path("demo/resources/human-pose.jpg")
    image.parent.mkdir(parents=True)
    assert cv2.imwrite(str(image), photograph("astronaut"))
    posedeploy.deploy(subject.deploy_config, subject.model, "calibrated", FOLDER)

    names = run_snippet(subject)

    drawn, original = read_image(Path("output_pose.png")), read_image(image)
    assert drawn.shape == original.shape
    assert (np.asarray(drawn) != original).any()
    assert_same_sample(names["result"][0], reference(names, subject.model, image))


def reference(names: dict[str, Any], model_name: str, image: Path) -> Any:
    from mmpose.apis import inference_bottomup, inference_topdown

    from posedeploy.apis.sources import resolve_checkpoint

    processor = names["task_processor"]
    model = processor.build_pytorch_model(resolve_checkpoint(model_name, "calibrated"))
    bottom_up = processor.model_config.head_kind.bottom_up
    return (inference_bottomup if bottom_up else inference_topdown)(model, str(image))[0]


def assert_same_sample(found: Any, expected: Any) -> None:
    """Same fields of the same types; the same people with the same keypoints."""
    assert type(found) is type(expected)
    ours, theirs = found.pred_instances, expected.pred_instances
    assert set(ours.keys()) == set(theirs.keys())
    for name in theirs.keys():  # noqa: SIM118 - InstanceData iterates over people
        assert type(ours[name]) is type(theirs[name]), name
        assert ours[name].dtype.kind == theirs[name].dtype.kind, name
    assert len(theirs) >= len(ours) >= 1  # a graph keeps at most keep_top_k people, best first
    # as sets: people whose scores are equal to rounding change places
    apart = np.linalg.norm(ours.keypoints[:, None] - theirs.keypoints[None], axis=-1)
    rows, people = linear_sum_assignment(apart.mean(axis=-1))
    assert np.mean(apart[rows, people] > SAME_PX) <= NEAR_TIES
    np.testing.assert_allclose(ours.bbox_scores, theirs.bbox_scores[people], atol=1e-3)
    np.testing.assert_allclose(ours.bboxes, theirs.bboxes[people], atol=SAME_PX)
    best = np.sort(theirs.bbox_scores)[::-1][: len(ours)]
    np.testing.assert_allclose(np.sort(ours.bbox_scores)[::-1], best, atol=1e-3)
    if "labels" in theirs:
        np.testing.assert_array_equal(ours.labels, theirs.labels[people])
