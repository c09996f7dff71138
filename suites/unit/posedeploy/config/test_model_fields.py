"""The table of fields: whole, as MMPose has them, and what becomes of each."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import re
from typing import Any

import pytest
from mmengine.config import Config

from posedeploy import compat
from posedeploy.codecs import CODECS
from posedeploy.config import ModelConfig
from posedeploy.config.files import read_config
from posedeploy.config.model_config import model_config_from
from posedeploy.config.model_fields import FIELDS, channels, codec_rows, rows_of_test_cfg
from posedeploy.errors import BadInputError
from posedeploy.heads import HEADS
from posedeploy.sdk.writer import model_facts, postprocess, transforms
from posedeploy.zoo.table import config_path, model_row

TOP_DOWN, SIMCC, DETECTOR, RTMO = "hrnet_w32", "rtmpose_t", "yoloxpose_tiny", "rtmo_t"
TEST_CFG = "test_cfg of "


@pytest.fixture(scope="module")
def mmpose() -> None:
    """MMPose, importable."""
    pytest.importorskip("torch")
    compat.install()


@pytest.mark.parametrize("name", [name for name in FIELDS if not name.startswith(TEST_CFG)])
@pytest.mark.usefixtures("mmpose")
def test_the_table_has_every_argument_of_mmposes_class(name: str) -> None:
    places = ("mmpose.datasets.transforms", "mmpose.codecs", "mmpose.models.data_preprocessors")
    modules = [importlib.import_module(place) for place in places]
    found = next(getattr(module, name) for module in modules if hasattr(module, name))
    arguments = dict(inspect.signature(found.__init__).parameters)
    del arguments["self"]
    rows = {row.name: row for row in FIELDS[name]}
    assert set(rows) == set(arguments)
    for argument, parameter in arguments.items():
        assert rows[argument].required == (parameter.default is parameter.empty), argument
        if parameter.default is not parameter.empty:
            assert rows[argument].takes.fits(parameter.default), argument


@pytest.mark.usefixtures("mmpose")
def test_the_table_has_every_field_of_test_cfg_that_mmposes_code_reads() -> None:
    for head in HEADS:
        estimator = "BottomupPoseEstimator" if head.bottom_up else "TopdownPoseEstimator"
        importlib.import_module("mmpose.models")  # fills the registry
        registry = importlib.import_module("mmpose.registry").MODELS
        read: set[str] = set()
        for name in (estimator, *head.mmpose_heads):
            found = registry.get(name)
            code = inspect.getsource(found.predict)
            if name == estimator:
                code += inspect.getsource(found.add_pred_to_datasample)
            read |= set(re.findall(r"cfg\.get\(\s*'(\w+)'", code))
        assert read
        assert read <= {row.name for row in rows_of_test_cfg(head)}, head.kind


def test_what_a_codec_decides_by_is_what_the_table_carries() -> None:
    for codec in CODECS:
        carried = {row.name for row in FIELDS[codec.type] if row.fate == "carried"}
        assert carried == {parameter.name for parameter in codec.parameters}, codec.type


def test_a_codec_without_rows_has_those_of_its_parameters() -> None:
    rows = {row.name: row.required for row in codec_rows("MSRAHeatmap")}
    assert rows == {
        "input_size": True, "heatmap_size": True, "unbiased": False, "blur_kernel_size": False,
    }  # fmt: skip
    assert codec_rows("Surprise") == ()


def test_every_row_has_a_reason() -> None:
    for what, rows in FIELDS.items():
        names = [row.name for row in rows]
        assert len(names) == len(set(names)), what
        for row in rows:
            assert row.why, (what, row.name)


@functools.cache
def config_of(name: str) -> Any:
    return read_config(config_path(model_row(name)), "model config")


def edited(name: str, place: str, **fields: Any) -> ModelConfig:
    """A zoo model's config with other fields at a place: 'test_cfg', or a transform's name."""
    config = config_of(name)
    result = copy.deepcopy(config.to_dict())
    model, steps = result["model"], result["test_dataloader"]["dataset"]["pipeline"]
    named = {step["type"]: step for step in steps}
    owner = named.get(place) or (model["head"] if place == "decoder" else model)[place]
    owner.update(fields)
    for key in [key for key, value in fields.items() if value is ...]:
        del owner[key]
    return model_config_from(Config(result, filename=config.filename))


# ---- modify this table to add a refusal ----------------------------------------------------
# model, place, fields (`...` removes one) -> words of the message
# fmt: off
REFUSED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    (TOP_DOWN, "LoadImage", {"color_type": "grayscale"},
     "LoadImage).color_type: found 'grayscale'; expected 'color' or 'color_ignore_orientation'"),
    (TOP_DOWN, "LoadImage", {"color_type": "unchanged"}, "no images of three channels"),
    (TOP_DOWN, "LoadImage", {"color_typ": "color"}, "Did you mean color_type?"),
    (TOP_DOWN, "LoadImage", {"imdecode_backend": "pillow"}, "the SDK decodes with OpenCV"),
    (TOP_DOWN, "LoadImage", {"to_float32": True}, "expected False (the SDK crops 8-bit images)"),
    (TOP_DOWN, "GetBBoxCenterScale", {"padding": 0}, "a number from 0.01 to 100"),
    (TOP_DOWN, "GetBBoxCenterScale", {"padding": True}, "found True"),
    (TOP_DOWN, "TopdownAffine", {"input_size": ...}, "found no such field"),
    (TOP_DOWN, "TopdownAffine", {"use_udp": 1}, "expected True or False"),
    (TOP_DOWN, "PackPoseInputs", {"meta_keys": ("id",)},
     "a list with input_size, input_center and input_scale"),
    (TOP_DOWN, "PackPoseInputs", {"pack_transformed": True}, "has no annotations"),
    (DETECTOR, "BottomupResize", {"aug_scales": [0.5]}, "the network sees one size"),
    (DETECTOR, "BottomupResize", {"pad_val": 114}, "a list of 3"),
    (DETECTOR, "BottomupResize", {"resize_mode": "fill"}, "'fit' or 'expand'"),
    (DETECTOR, "BottomupResize", {"size_factor": 100}, "a divisor of the input's 416x416 px"),
    (TOP_DOWN, "data_preprocessor", {"rgb_to_bgr": True}, "each swaps the channels"),
    (TOP_DOWN, "data_preprocessor", {"mean": ...}, "mean and std, or neither"),
    (TOP_DOWN, "data_preprocessor", {"mean": [1, 2]}, "a list of 1 or 3"),
    (TOP_DOWN, "data_preprocessor", {"pad_size_divisor": 100}, "a divisor of the input's 192x256"),
    (TOP_DOWN, "data_preprocessor", {"std": [58.0, 57.0, 0]}, "from 1e-06 to 1e+06"),
    (TOP_DOWN, "data_preprocessor", {"type": "ImgDataPreprocessor"}, "PoseDataPreprocessor"),
    (TOP_DOWN, "test_cfg", {"mode": "2d"}, "a field that MMPose 1.3.2 reads there"),
    (TOP_DOWN, "test_cfg", {"output_keypoint_indices": [17]}, "indices below 17, the keypoints"),
    (TOP_DOWN, "test_cfg", {"output_keypoint_indices": []}, "one at least"),
    (DETECTOR, "test_cfg", {"score_thr": ...}, "found no such field"),
    (DETECTOR, "test_cfg", {"multiscale_test": True}, "the network sees one size"),
    (RTMO, "test_cfg", {"nms_thr": 1.0}, "RTMOHead stops with an error"),
    (TOP_DOWN, "decoder", {"type": "Surprise"}, "MSRAHeatmap or MegviiHeatmap or UDPHeatmap"),
    (TOP_DOWN, "decoder", {"blur_kernel_size": 10}, "an odd integer from 3 to 255"),
    (TOP_DOWN, "decoder", {"input_size": (256, 192)}, "the input_size of the test pipeline"),
    (SIMCC, "decoder", {"use_dark": True, "sigma": 0.5}, "values from 0.8 to 38"),
    (SIMCC, "decoder", {"label_smooth_weight": 0.1}, "0 for smoothing_type 'gaussian'"),
)
# fmt: on
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "place", "fields", "words"), REFUSED)
def test_what_cannot_be_carried_over_is_refused_by_name(
    model: str, place: str, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        edited(model, place, **fields)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"type": "GenerateTarget"}, "MMPose's own inference stops there too"),
        ({"type": "RandomFlip"}, "Remove it: the deployed model does what is left"),
        ({"type": "TopDownAffine", "input_size": (1, 1)}, "Did you mean TopdownAffine?"),
        ({"type": "LoadImage"}, "each once, in this order"),
        ("LoadImage", "a dict with a type"),
    ],
)
def test_a_pipeline_of_other_transforms_is_refused(what: Any, words: str) -> None:
    config = config_of(TOP_DOWN)
    result = copy.deepcopy(config.to_dict())
    result["test_dataloader"]["dataset"]["pipeline"].insert(3, what)
    with pytest.raises(BadInputError) as caught:
        model_config_from(Config(result, filename=config.filename))
    assert words in str(caught.value)


def test_how_a_file_is_read_is_carried_over() -> None:
    config = edited(TOP_DOWN, "LoadImage", color_type="color_ignore_orientation")
    load = transforms(config, config.input_size)[0]
    assert load == {"type": "LoadImageFromFile", "color_type": "color_ignore_orientation"}
    assert model_facts(config, 17)["color_type"] == "color_ignore_orientation"
    usual = edited(TOP_DOWN, "LoadImage", color_type="color")
    assert transforms(usual, usual.input_size)[0] == {"type": "LoadImageFromFile"}


@pytest.mark.parametrize(
    ("fields", "to_rgb"),
    [
        ({"bgr_to_rgb": False, "rgb_to_bgr": True}, True),
        ({"bgr_to_rgb": True}, True),
        ({"bgr_to_rgb": False}, False),
        ({"bgr_to_rgb": ...}, False),
    ],
)
def test_each_of_mmposes_conversions_swaps_the_channels(
    fields: dict[str, Any], to_rgb: bool
) -> None:
    config = edited(TOP_DOWN, "data_preprocessor", **fields)
    normalize = transforms(config, config.input_size)[-3]
    assert (normalize["type"], normalize["to_rgb"]) == ("Normalize", to_rgb)


def test_one_mean_counts_for_all_channels_and_none_for_nothing() -> None:
    config = edited(TOP_DOWN, "data_preprocessor", mean=[120], std=[60.0])
    assert (config.mean, config.std) == ((120,) * 3, (60.0,) * 3)
    assert channels(None, 0.0) == (0.0, 0.0, 0.0)


def test_names_with_mmposes_scope_are_the_same_transforms() -> None:
    config = edited(TOP_DOWN, "GetBBoxCenterScale", type="mmpose.GetBBoxCenterScale", padding=1.5)
    box = transforms(config, config.input_size)[1]
    assert box == {
        "type": "TopDownGetBboxCenterScale", "padding": 1.5, "image_size": [192, 256],
    }  # fmt: skip


def test_selected_keypoints_are_carried_over() -> None:
    config = edited(TOP_DOWN, "test_cfg", output_keypoint_indices=[5, 3])
    assert postprocess(config)[1]["output_keypoint_indices"] == [5, 3]
