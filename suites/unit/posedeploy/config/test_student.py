"""Configs of distillations: the model is the student, on the images of the distillation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.tiny_models import TinyModel
from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.zoo.table import shipped_config

Reader = Callable[[str], ModelConfig]
SHIPPED = "dwpose_l_dis_t_coco-ubody-256x192.py"


@pytest.fixture
def distilled(tiny_model: Callable[[str], TinyModel], tmp_path: Path) -> Reader:
    """Reads a distillation of the tiny model, with these fields in its `model`."""
    tiny = tiny_model("rtmpose_t").config
    (tmp_path / "models").mkdir()
    (tmp_path / "models/student.py").write_text(f"_base_ = {str(tiny)!r}")

    def read(fields: str) -> ModelConfig:
        path = tmp_path / "distillation/first/model.py"
        path.parent.mkdir(parents=True)
        model = f"dict(_delete_=True, type='DWPoseDistiller', {fields})"
        path.write_text(f"_base_ = {str(tiny)!r}\nmodel = {model}")
        return load_model_config(path)

    return read


def test_the_student_is_the_model(distilled: Reader, tmp_path: Path) -> None:
    read = distilled("student_cfg='models/student.py'")  # in a folder around the config's
    own = load_model_config(tmp_path / "models/student.py")
    assert read.config.model == own.config.model
    assert (read.input_size, read.keypoints) == (own.input_size, own.keypoints)
    assert read.path.name == "model.py"


def test_images_are_prepared_as_the_distillation_does(
    distilled: Reader,
) -> None:
    preprocessor = "dict(type='PoseDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6])"
    read = distilled(f"student_cfg='models/student.py', data_preprocessor={preprocessor}")
    assert (read.mean, read.std, read.bgr_to_rgb) == ((1, 2, 3), (4, 5, 6), False)


def test_mmpose_s_own_are_found_in_its_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = shipped_config(SHIPPED)
    assert path is not None
    read = load_model_config(path)
    assert (read.head, read.keypoints, read.input_size) == ("RTMCCHead", 133, (192, 256))


@pytest.mark.parametrize(
    ("student", "found"),
    [
        ("'none.py'", r"student_cfg: found 'none\.py', which is no file"),
        ("3", "student_cfg: found 3, which is no file"),
        ("'first/model.py'", "expected the config of one model"),  # the distillation itself
    ],
)
def test_a_student_that_is_none(distilled: Reader, student: str, found: str) -> None:
    with pytest.raises(BadInputError, match=found):
        distilled(f"student_cfg={student}")
