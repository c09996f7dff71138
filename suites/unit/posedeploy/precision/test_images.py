"""Calibration sets: where they come from, and that the judge's images are not among them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fixtures.images import make_samples
from posedeploy.apis.deploying import with_calib_images
from posedeploy.config import (
    CalibrationSettings,
    ModelConfig,
    deploy_config_text,
    load_deploy_config,
    load_model_config,
)
from posedeploy.errors import BadInputError
from posedeploy.precision.calibration import required
from posedeploy.precision.images import (
    DRAWN_COUNT,
    calibration_set,
    image_files,
    model_preprocessor,
)
from posedeploy.synthetic.drawn import drawn_figures
from posedeploy.zoo.table import config_path, model_row

INT8 = "pose-detection_simcc_onnxruntime-int8_static"


def model(name: str) -> ModelConfig:
    return load_model_config(config_path(model_row(name)))


def few(count: int = 3, images: Path | None = None) -> CalibrationSettings:
    return CalibrationSettings(images, count)


def hashes(images: Iterable[Any]) -> set[str]:
    return {hashlib.sha256(np.ascontiguousarray(p).tobytes()).hexdigest() for p in images}


def test_the_default_is_at_least_32_drawn_figures() -> None:
    found = calibration_set(model("simcc_mobilenetv2"))
    assert found.count == DRAWN_COUNT >= 32
    assert found.source == "drawn figures of the split 'calibration'"


@pytest.mark.parametrize(("name", "side"), [("rtmpose_t", (256, 192)), ("rtmo_t", (416, 416))])
def test_inputs_are_the_networks_own_and_the_same_every_time(
    name: str, side: tuple[int, int]
) -> None:
    found = calibration_set(model(name), few())
    arrays = list(found.inputs())
    assert [array.shape for array in arrays] == [(1, 3, *side)] * 3
    assert all(array.dtype == np.float32 for array in arrays)
    for first, again in zip(arrays, found.inputs(), strict=True):
        np.testing.assert_array_equal(first, again)
    assert found.sha256 == calibration_set(model(name), few()).sha256
    assert found.sha256 != calibration_set(model(name), few(4)).sha256
    assert found.facts() == {"source": found.source, "count": 3, "sha256": found.sha256}


def test_the_judges_images_are_not_among_them() -> None:
    """Neither as images nor as what the network sees."""
    config = model("simcc_mobilenetv2")
    preprocessor = model_preprocessor(config)
    calibration = list(drawn_figures("calibration", DRAWN_COUNT))
    evaluation = list(drawn_figures("evaluation", DRAWN_COUNT))
    samples = make_samples()
    judged = [*(f.image for f in evaluation), *(s.image for s in samples)]
    assert not hashes(f.image for f in calibration) & hashes(judged)
    regions = [preprocessor.regions(f.image, f.bboxes) for f in evaluation]
    regions += [preprocessor.regions(s.image, np.array([s.bbox], np.float32)) for s in samples]
    seen = hashes(preprocessor.tensor(region) for region in regions)
    assert not seen & hashes(calibration_set(config).inputs())


def test_no_two_inputs_are_the_same() -> None:
    found = calibration_set(model("simcc_mobilenetv2"))
    assert len(hashes(found.inputs())) == found.count


# --- a folder of one's own ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(5):
        image = np.full((40, 30, 3), index * 20, np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_every_image_of_a_folder_is_taken_by_name(folder: Path) -> None:
    found = calibration_set(model("rtmpose_t"), CalibrationSettings(folder))
    assert found.count == 5
    means = [float(array.mean()) for array in found.inputs()]
    assert means == sorted(means)
    assert str(folder) in found.source


def test_images_are_known_by_their_content_and_what_else_is_there_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.full((32, 24, 3), 90, np.uint8)
    for suffix in (".gif", ".ppm", ".avif"):
        assert cv2.imwrite(str(folder / f"more{suffix}"), image)
    (folder / "more.ppm").rename(folder / "without-a-suffix")
    (folder / "labels.json").write_text("{}")
    (folder / ".hidden").write_text("")
    names = {path.name for path in image_files(folder)}
    assert {"more.gif", "more.avif", "without-a-suffix"} <= names
    assert len(names) == 8
    notes = [text for text in caplog.messages if "left out" in text]
    assert any("labels.json" in text for text in notes)
    assert not any("hidden" in text for text in notes)


def test_fewer_are_spread_over_the_folder(folder: Path) -> None:
    found = calibration_set(model("rtmpose_t"), few(2, folder))
    everything = list(calibration_set(model("rtmpose_t"), CalibrationSettings(folder)).inputs())
    for array, expected in zip(found.inputs(), (everything[0], everything[-1]), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_images_is_an_error(tmp_path: Path, there: bool) -> None:
    place = tmp_path if there else tmp_path / "nothing"
    with pytest.raises(BadInputError, match="no image in it" if there else "no such folder"):
        image_files(place)


def test_images_that_cannot_be_read_are_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "2.png").write_bytes(b"none")
    (folder / "3.png").unlink()
    (folder / "3.png").mkdir()
    cv2.imwrite(str(folder / "4.png"), np.zeros((90, 90, 3), np.uint8))
    settings = CalibrationSettings(folder, max_pixels=90 * 90 - 1)
    found = calibration_set(model("rtmpose_t"), settings)
    assert found.count == len(list(found.inputs())) == 2
    for name, reason in (("2.png", "cannot read"), ("3.png", "a folder"), ("4.png", "90x90 px")):
        assert any(name in text and reason in text for text in caplog.messages)
    for name in ("0.png", "1.png"):
        (folder / name).write_bytes(b"")
    with pytest.raises(BadInputError, match="5 images, none of which can be read"):
        calibration_set(model("rtmpose_t"), settings)


def test_the_option_wins_over_the_deploy_config(folder: Path) -> None:
    config = load_deploy_config(INT8)
    assert config.calibration == CalibrationSettings()
    assert with_calib_images(config, None) == config
    limited = with_calib_images(config, None, 5).calibration
    assert limited == CalibrationSettings(max_pixels=5)
    assert with_calib_images(config, folder).calibration == CalibrationSettings(folder)


def test_the_option_is_refused_where_nothing_is_calibrated(folder: Path) -> None:
    config = load_deploy_config("pose-detection_simcc_onnxruntime_static")
    with pytest.raises(BadInputError, match="--calib-images"):
        with_calib_images(config, folder)


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("dict(create_calib=True, calib_file='calib_data.h5')", CalibrationSettings()),
        ("dict(images='mine', count=7)", CalibrationSettings(Path("mine"), 7)),
    ],
)
def test_a_deploy_config_names_its_calibration_set(
    tmp_path: Path, section: str, settings: CalibrationSettings
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{deploy_config_text(INT8)}\ncalib_config = {section}\n")
    found = load_deploy_config(path).calibration
    images = settings.images and tmp_path / settings.images
    assert found == dataclasses.replace(settings, images=images)


@pytest.mark.parametrize("section", ["dict(images=3)", "dict(count=0)", "dict(count='many')"])
def test_a_field_of_the_wrong_type_is_an_error(tmp_path: Path, section: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{deploy_config_text(INT8)}\ncalib_config = {section}\n")
    with pytest.raises(BadInputError, match="calib_config"):
        load_deploy_config(path)


def test_progress_is_for_people_and_not_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = calibration_set(model("rtmpose_t"), few(2))
    assert len(list(found.with_progress("measuring"))) == 2
    assert capsys.readouterr().out == ""


def test_int8_without_a_set_is_an_error() -> None:
    with pytest.raises(BadInputError, match="nothing to calibrate on"):
        required(None, Path("deploy.py"))
