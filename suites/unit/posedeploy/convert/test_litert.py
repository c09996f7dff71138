"""Conversion to `.tflite` files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fixtures.litert_files import SHAPE, LiteRtFile
from posedeploy.config import load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.convert.litert import run_litert_torch, run_once, weight_precision
from posedeploy.errors import ConversionError
from posedeploy.runtime import TensorInfo

CONFIG = load_deploy_config("pose-detection_litert_static-256x192")


def test_a_file_has_our_names_shapes_and_precision(litert_file: LiteRtFile) -> None:
    done = litert_file.converted
    assert (done.files, done.precision, done.recipe) == (("end2end.tflite",), "fp32", {})
    assert done.declared is not None
    assert done.declared.inputs == (TensorInfo("input", SHAPE, "float32"),)
    assert done.declared.outputs == (TensorInfo("output", (1, 5, 16, 12), "float32"),)
    assert weight_precision(litert_file.path) == "fp32"


def test_a_dynamic_batch_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, dynamic_batch=True)
    with pytest.raises(ConversionError, match="found a dynamic batch"):
        get_converter("litert", "fp32").convert(tmp_path / "end2end.pt2", config, tmp_path)


def test_what_litert_torch_refuses_is_an_error_in_its_words(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "a.pt2").write_text("no archive")
    with pytest.raises(ConversionError, match="ended with status 1: BadZipFile: ") as caught:
        run_litert_torch(tmp_path / "a.pt2", tmp_path / "a.tflite")
    assert caught.value.stage == "convert"


def test_a_file_that_does_not_run_is_an_error(litert_file: LiteRtFile, tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(litert_file.path.read_bytes()[:-4096])
    with pytest.raises(ConversionError, match=r"a\.tflite: .* a file that LiteRT runs"):
        run_once(tmp_path / "a.tflite", "fp32")
