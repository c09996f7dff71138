"""Every field of an MMPose config that decides what goes into a network and what comes out of it.

`FIELDS` has a row for each argument of each transform, of the data preprocessor and of the codecs
in MMPose 1.3.2, and for each field of `test_cfg` that its code reads. A row says what becomes of
the field: it is carried over into the SDK model, or decides nothing there, or has one value that
can be had. What has no row is refused by name.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from posedeploy.codecs import codec_of
from posedeploy.config.type_names import type_name
from posedeploy.errors import BadInputError, did_you_mean
from posedeploy.heads import HeadSpec

PIPELINE = "test_dataloader.dataset.pipeline"
PREPROCESSOR, TEST_CFG = "model.data_preprocessor", "model.test_cfg"
CODEC, OUT_CHANNELS = "model.head.decoder", "model.head.out_channels"
SELECTION = "output_keypoint_indices"


@dataclass(frozen=True)
class Rule:
    """Values that a field may have."""

    expected: str
    fits: Callable[[Any], bool]


def only(*values: Any) -> Rule:
    """One of these values, of its own type: 1 is not True."""
    expected = " or ".join(map(repr, values))
    return Rule(expected, lambda v: any(type(v) is type(value) and v == value for value in values))


def number(low: float, high: float) -> Rule:
    """A number of this range, ends included."""
    return Rule(
        f"a number from {low:g} to {high:g}",
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high,
    )


def integer(low: int, high: int) -> Rule:
    """An integer of this range, ends included."""
    fits = number(low, high).fits
    return Rule(f"an integer from {low} to {high}", lambda v: isinstance(v, int) and fits(v))


def several(rule: Rule, *counts: int) -> Rule:
    """So many values of one rule; any number of them without counts."""
    size = f" {' or '.join(map(str, counts))}" if counts else ""
    return Rule(
        f"a list of{size}, each {rule.expected}",
        lambda v: (
            isinstance(v, list | tuple)
            and (not counts or len(v) in counts)
            and all(map(rule.fits, v))
        ),
    )


def either(*rules: Rule) -> Rule:
    """What one of the rules takes."""
    expected = ", or ".join(rule.expected for rule in rules)
    return Rule(expected, lambda v: any(rule.fits(v) for rule in rules))


def _has_input(keys: Any) -> bool:
    return isinstance(keys, list | tuple) and {"input_size", "input_center", "input_scale"} <= {
        key for key in keys if isinstance(key, str)
    }


ANY = Rule("anything", lambda _: True)
FLAG = only(True, False)
SWITCH = only(True, False, 1, 0, None)  # where MMPose asks no more than whether it is true
NONE = only(None)
WORD = Rule("a word", lambda v: isinstance(v, str))
DICT = Rule("a dict", lambda v: isinstance(v, dict))
SIZE = several(integer(1, 4096), 2)  # (W, H), px; 4096 is the largest side that the SDK takes
CELLS = several(integer(2, 4096), 2)  # (W, H) of a heatmap
KERNEL = Rule(
    "an odd integer from 3 to 255", lambda v: integer(3, 255).fits(v) and bool(v % 2)
)  # OpenCV's Gaussian blur
DISK = Rule("{'backend': 'disk'}", lambda v: isinstance(v, dict) and {**v} == {"backend": "disk"})
ODD = Rule("an odd integer from 1 to 255", lambda v: integer(1, 255).fits(v) and bool(v % 2))
META_KEYS = Rule("a list with input_size, input_center and input_scale", _has_input)
INDICES = Rule(
    "a list of indices, one at least",
    lambda v: several(integer(0, 9999)).fits(v) and len(v) > 0,
)
SIGMA = either(number(1e-3, 1e3), several(number(1e-3, 1e3), 2))


@dataclass(frozen=True)
class Field:
    """What becomes of one field.

    Attributes:
        name: Its name in the config.
        fate: 'carried' into the SDK model; 'idle': it decides nothing there; 'fixed': one value
            can be had.
        takes: The values that it may have.
        why: Where it is carried to, or why it decides nothing, or why no other value can be had.
        required: True if MMPose has no default for it, or none that is of use here.
    """

    name: str
    fate: Literal["carried", "idle", "fixed"]
    takes: Rule
    why: str
    required: bool = False


_ENCODES = "it makes labels for training"
_FLIP = "the deployed model sees an image once, and MMPose in the comparison too"
_PARAMS = "params of the post-processing"

# Thresholds that a model's own `test_cfg` sets; the deploy config's count where it sets none.
_DETECTOR = (
    Field("flip_mode",       "idle",    WORD,              _FLIP),
    Field("flip_test",       "idle",    SWITCH,            _FLIP),
    Field("input_size",      "idle",    ANY,               "the test pipeline's counts"),
    Field("max_per_img",     "carried", integer(1, 100_000), "rows of the outputs"),
    Field("multiscale_test", "fixed",   only(False, None), "the network sees one size"),
    Field("nms_pre",         "carried", integer(1, 2**31 - 1), "the choice of people"),
    Field("output_heatmaps", "idle",    SWITCH,            "detectors have none"),
    Field(SELECTION,         "idle",    either(NONE, INDICES), "MMPose's top-down models read it"),
    Field("score_thr",       "carried", number(0, 0.999999), "the choice of people",
          required=True),  # MMPose's default is another than the deploy configs'
    Field("shift_heatmap",   "idle",    SWITCH,            _FLIP),
)  # fmt: skip

# Of models whose people are put together outside the graph.
_GROUPING = (
    Field("flip_mode",       "idle",    WORD,              _FLIP),
    Field("flip_test",       "idle",    SWITCH,            _FLIP),
    Field("multiscale_test", "fixed",   only(False, None), "the network sees one size"),
    Field("output_heatmaps", "idle",    SWITCH,            "people are the same with and without"),
    Field("shift_heatmap",   "idle",    SWITCH,            _FLIP),
)  # fmt: skip

# ---- modify this table to add a field ------------------------------------------------------
# what has the fields -> name, fate, values, why
# fmt: off
FIELDS: Mapping[str, tuple[Field, ...]] = {
    "LoadImage": (
        Field("backend_args",     "idle",    either(NONE, DICT), "where a data set's files are"),
        Field("color_type",       "carried", only("color", "color_ignore_orientation"),
              "LoadImageFromFile.color_type; other types are no images of three channels"),
        Field("file_client_args", "idle",    either(NONE, DISK), "the older backend_args"),
        Field("ignore_empty",     "idle",    ANY,               "what cannot be read is an error"),
        Field("imdecode_backend", "fixed",   only("cv2", None), "the SDK decodes with OpenCV"),
        Field("to_float32",       "fixed",   only(False),       "the SDK crops 8-bit images"),
    ),
    "GetBBoxCenterScale": (
        Field("padding",          "carried", number(0.01, 100),
              "TopDownGetBboxCenterScale.padding"),
    ),
    "TopdownAffine": (
        Field("input_size",       "carried", SIZE, "TopDownAffine.image_size", required=True),
        Field("use_udp",          "carried", FLAG, "TopDownAffine.use_udp"),
    ),
    "BottomupResize": (
        Field("aug_scales",       "fixed",   only(None, [], ()), "the network sees one size"),
        Field("input_size",       "carried", SIZE, "BottomupResize.input_size", required=True),
        Field("pad_val",          "carried", several(number(0, 255), 3), "BottomupResize.pad_val"),
        Field("resize_mode",      "fixed",   only("fit", "expand"),
              "the graph has an input of one size: an image is fitted into it, in mmpose too"),
        Field("size_factor",      "carried", integer(1, 4096), "BottomupResize.size_factor"),
        Field("use_udp",          "carried", FLAG, "BottomupResize.use_udp"),
    ),
    "PackPoseInputs": (
        Field("meta_keys",        "idle",    META_KEYS, "MMPose places keypoints by these three"),
        Field("pack_transformed", "fixed",   only(False), "an image to run on has no annotations"),
    ),
    "PoseDataPreprocessor": (
        Field("batch_augments",   "idle",    either(NONE, several(DICT)), "it is for training"),
        Field("bgr_to_rgb",       "carried", FLAG, "Normalize.to_rgb"),
        Field("mean",             "carried", either(NONE, several(number(-1e6, 1e6), 1, 3)),
              "Normalize.mean"),
        Field("non_blocking",     "idle",    either(FLAG, NONE), "it is how a copy is made"),
        Field("pad_size_divisor", "idle",    integer(1, 4096), "sizes are multiples of it"),
        Field("pad_value",        "idle",    ANY, "nothing is padded: see pad_size_divisor"),
        Field("rgb_to_bgr",       "carried", FLAG, "Normalize.to_rgb: it swaps the same channels"),
        Field("std",              "carried", either(NONE, several(number(1e-6, 1e6), 1, 3)),
              "Normalize.std"),
    ),
    "test_cfg of top-down models": (
        Field("flip_mode",        "idle",    WORD, _FLIP),
        Field("flip_test",        "idle",    SWITCH, _FLIP),
        Field("output_heatmaps",  "idle",    SWITCH, "keypoints are the same with and without"),
        Field(SELECTION,          "carried", either(NONE, INDICES), _PARAMS),
        Field("shift_coords",     "idle",    SWITCH, _FLIP),
        Field("shift_heatmap",    "idle",    SWITCH, _FLIP),
    ),
    "test_cfg of associative-embedding models": (
        *_GROUPING,
        Field("align_corners",    "carried", FLAG, "resizing of the maps"),
        Field("restore_heatmap_size", "carried", FLAG, "resizing of the maps"),
    ),
    "test_cfg of cid models": (
        *_GROUPING,
        Field("align_corners",    "idle",    SWITCH, _FLIP),
        Field("blur_kernel_size", "carried", ODD, _PARAMS),
        Field("max_instances",    "carried", integer(1, 100_000), "the choice of people"),
        Field("score_threshold",  "carried", number(0, 0.999999), "the choice of people"),
    ),
    "test_cfg of dekr models": (
        *_GROUPING,
        Field("align_corners",    "idle",    SWITCH, _FLIP),
        Field("max_num_people",   "carried", integer(1, 100_000), "the choice of people"),
        Field("nms_dist_thr",     "carried", number(0, 1e3), "the choice of people"),
        Field("nms_joints_thr",   "carried", either(NONE, integer(0, 9999)),
              "the choice of people"),
    ),
    "test_cfg of rtmo models": (
        *_DETECTOR,
        Field("nms_thr",          "carried", number(0, 0.999999), "the choice of people; MMPose's "
              "RTMOHead stops with an error at 1, its default", required=True),
    ),
    "test_cfg of bottom-up models": (
        *_DETECTOR,
        Field("nms_thr",          "carried", number(0, 1), "the choice of people", required=True),
    ),
    "AssociativeEmbedding": (
        Field("decode_center_shift", "carried", number(-10, 10), _PARAMS),
        Field("decode_gaussian_kernel", "idle", KERNEL, "it is for use_udp"),
        Field("decode_keypoint_order", "carried", several(integer(0, 9999)), _PARAMS),
        Field("decode_keypoint_thr", "carried", number(0, 1e6), _PARAMS),
        Field("decode_max_instances", "carried", either(NONE, integer(1, 100_000)), _PARAMS),
        Field("decode_nms_kernel", "carried", ODD, _PARAMS),
        Field("decode_tag_thr",   "carried", number(0, 1e6), _PARAMS),
        Field("decode_topk",      "carried", integer(1, 1000), _PARAMS),
        Field("heatmap_size",     "carried", CELLS,  _PARAMS, required=True),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("sigma",            "idle",    either(NONE, SIGMA), _ENCODES),
        Field("use_udp",          "fixed",   only(False),
              "MMPose's decoder then fills missing keypoints by the logarithms of heatmaps"),
    ),
    "DecoupledHeatmap": (
        Field("encode_max_instances", "idle", integer(1, 100_000), _ENCODES),
        Field("heatmap_min_overlap", "idle", number(0, 1), _ENCODES),
        Field("heatmap_size",     "carried", CELLS,  _PARAMS, required=True),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("root_type",        "idle",    WORD,   _ENCODES),
    ),
    "IntegralRegressionLabel": (
        Field("blur_kernel_size", "idle",    KERNEL, _ENCODES),
        Field("heatmap_size",     "idle",    CELLS,  _ENCODES, required=True),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("normalize",        "idle",    SWITCH, _ENCODES),
        Field("sigma",            "idle",    SIGMA,  _ENCODES, required=True),
        Field("unbiased",         "idle",    SWITCH, _ENCODES),
    ),
    "MSRAHeatmap": (
        Field("blur_kernel_size", "carried", KERNEL, _PARAMS),
        Field("heatmap_size",     "carried", CELLS,  _PARAMS, required=True),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("sigma",            "idle",    SIGMA,  _ENCODES, required=True),
        Field("unbiased",         "carried", FLAG,   _PARAMS),
    ),
    "MegviiHeatmap": (
        Field("heatmap_size",     "carried", CELLS,  _PARAMS, required=True),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("kernel_size",      "carried", KERNEL, _PARAMS, required=True),
    ),
    "RegressionLabel": (
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
    ),
    "SPR": (
        Field("background_weight", "idle",   number(0, 1e6), _ENCODES),
        Field("decode_max_instances", "carried", integer(1, 100_000), _PARAMS),
        Field("decode_nms_kernel", "carried", ODD, _PARAMS),
        Field("decode_thr",       "carried", number(0, 1e6), _PARAMS),
        Field("generate_keypoint_heatmaps", "carried", FLAG, _PARAMS),
        Field("heatmap_size",     "carried", CELLS,  _PARAMS, required=True),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("minimal_diagonal_length", "idle", number(0, 1e6), _ENCODES),
        Field("root_type",        "idle",    WORD,   _ENCODES),
        Field("sigma",            "idle",    either(NONE, SIGMA), _ENCODES),
    ),
    "SimCCLabel": (
        Field("decode_beta",      "idle",    number(1e-6, 1e6), "it is for visibilities"),
        Field("decode_visibility", "idle",   SWITCH, "keypoints and scores are the same"),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("label_smooth_weight", "idle", number(0, 1), _ENCODES),
        Field("normalize",        "idle",    SWITCH, _ENCODES),
        Field("sigma",            "carried", SIGMA,  _PARAMS),
        Field("simcc_split_ratio", "carried", number(0.01, 100), _PARAMS),
        Field("smoothing_type",   "idle",    only("gaussian", "standard"), _ENCODES),
        Field("use_dark",         "carried", FLAG,   _PARAMS),
    ),
    "UDPHeatmap": (
        Field("blur_kernel_size", "carried", KERNEL, _PARAMS),
        Field("heatmap_size",     "carried", CELLS,  _PARAMS, required=True),
        Field("heatmap_type",     "carried", only("gaussian", "combined"), _PARAMS),
        Field("input_size",       "carried", SIZE,   _PARAMS, required=True),
        Field("radius_factor",    "carried", number(1e-6, 1), _PARAMS),
        Field("sigma",            "idle",    SIGMA,  _ENCODES),
    ),
}
# Transforms of a test pipeline, in the order in which the SDK does the same.
PIPELINES: Mapping[str, tuple[str, ...]] = {
    "top-down":  ("LoadImage", "GetBBoxCenterScale", "TopdownAffine", "PackPoseInputs"),
    "bottom-up": ("LoadImage", "BottomupResize", "PackPoseInputs"),
}
# Transforms that people leave in a test pipeline, and what to do.
LEFT_OVER: Mapping[str, str] = {
    "GenerateTarget": "It encodes annotations, which an image to run on has not: MMPose's own "
    "inference stops there too. Remove it from the test pipeline.",
}
# fmt: on
# --------------------------------------------------------------------------------------------


def channels(values: Sequence[float] | None, default: float) -> tuple[float, ...]:
    """Mean or std of three channels: one number counts for all of them, as MMPose has it."""
    given = tuple(values or (default,))
    return given * 3 if len(given) == 1 else given


def rows_of_test_cfg(kind: HeadSpec) -> tuple[Field, ...]:
    """The rows of a kind's `test_cfg`: its own, or those of all that find people as it does."""
    general = "bottom-up" if kind.bottom_up else "top-down"
    return FIELDS.get(f"test_cfg of {kind.kind} models", FIELDS[f"test_cfg of {general} models"])


def codec_rows(codec: str) -> tuple[Field, ...]:
    """The rows of a codec that has none above: the parameters in `CODECS`, of any value."""
    spec = codec_of(codec)
    return tuple(
        Field(row.name, "carried", ANY, _PARAMS, required=row.default is None)
        for row in (spec.parameters if spec else ())
    )


def check_fields(config: str, parts: Mapping[str, Any], kind: HeadSpec) -> None:
    """Refuse what would be lost between a model config and an SDK model.

    `structure.check_structure` comes first: lists and dicts are where they should be.

    Args:
        config: The config, as messages name it.
        parts: `PIPELINE`, `PREPROCESSOR`, `TEST_CFG`, `CODEC` and `OUT_CHANNELS`, each with what
            the config has there, None for nothing.
        kind: The kind of the model's head.

    Raises:
        BadInputError: A field that has no row, or a value that its row does not take.
    """
    steps = _check_pipeline(f"{config}: {PIPELINE}", parts[PIPELINE], kind)
    preprocessor = parts[PREPROCESSOR]
    _check_dict(f"{config}: {PREPROCESSOR}", preprocessor, "PoseDataPreprocessor")
    test_cfg, codec = parts[TEST_CFG], parts[CODEC]
    _check_rows(f"{config}: {TEST_CFG}", test_cfg or {}, rows_of_test_cfg(kind))
    if kind.codecs:
        _check_dict(f"{config}: {CODEC}", codec, *kind.codecs)
    if kind.top_down:
        _check_selection(config, (test_cfg or {}).get(SELECTION), parts[OUT_CHANNELS], codec)
    if not kind.codecs and codec is not None:
        raise _misfit(f"{config}: {CODEC}", codec, f"none: {kind.kind} heads decode themselves")
    _check_together(config, steps, preprocessor, codec or {})


def _check_pipeline(subject: str, pipeline: Any, kind: HeadSpec) -> dict[str, Mapping[str, Any]]:
    """The transforms of a pipeline by their names."""
    wanted = PIPELINES["bottom-up" if kind.bottom_up else "top-down"]
    for i, step in enumerate(pipeline):
        where, expected = f"{subject}[{i}]", f"one of {', '.join(wanted)}"
        name = type_name(step["type"])
        if name not in wanted:
            next_step = LEFT_OVER.get(name) or did_you_mean(
                name, wanted, "Remove it: the deployed model does what is left, and no more."
            )
            raise BadInputError(where, reprlib.repr(name), expected, next_step)
        _check_rows(f"{where} ({name})", step, FIELDS[name])
    names = tuple(type_name(step["type"]) for step in pipeline)
    if names != wanted:
        raise BadInputError(
            subject, ", ".join(names) or "none", f"{', '.join(wanted)}, each once, in this order",
            "Correct the pipeline: the deployed model does just this.",
        )  # fmt: skip
    return dict(zip(names, pipeline, strict=True))


def _check_dict(subject: str, fields: Any, *types: str) -> None:
    """Check a dict of one of these types."""
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise _misfit(subject, fields, f"a dict of type {' or '.join(types)}")
    name = type_name(fields["type"])
    if name not in types:
        next_step = did_you_mean(name, types, "Change it in the model config.")
        raise BadInputError(f"{subject}.type", reprlib.repr(name), " or ".join(types), next_step)
    _check_rows(subject, fields, FIELDS[name] if name in FIELDS else codec_rows(name))


def _check_rows(subject: str, fields: Mapping[str, Any], of_it: Sequence[Field]) -> None:
    """Check fields against the rows of what they belong to."""
    rows = {row.name: row for row in of_it}
    for name, value in fields.items():
        where = f"{subject}.{name}"
        if name == "type":
            continue
        if name not in rows:
            next_step = did_you_mean(str(name), list(rows), "Remove it.")
            expected = f"a field that MMPose 1.3.2 reads there: {', '.join(rows)}"
            raise BadInputError(where, reprlib.repr(value), expected, next_step)
        row = rows[name]
        if not row.takes.fits(value):
            raise _misfit(where, value, f"{row.takes.expected} ({row.why})")
    for row in rows.values():
        if row.required and row.name not in fields:
            raise BadInputError(
                f"{subject}.{row.name}", "no such field", f"{row.takes.expected} ({row.why})",
                "Add it.",
            )  # fmt: skip


def _check_together(
    config: str,
    steps: Mapping[str, Mapping[str, Any]],
    preprocessor: Mapping[str, Any],
    codec: Mapping[str, Any],
) -> None:
    """Check what no field can show alone."""
    warp = steps.get("TopdownAffine") or steps["BottomupResize"]
    width, height = size = tuple(warp["input_size"])
    factors = {
        f"{PREPROCESSOR}.pad_size_divisor": preprocessor.get("pad_size_divisor", 1),
        f"{PIPELINE} (BottomupResize).size_factor": (
            steps["BottomupResize"].get("size_factor", 32) if "BottomupResize" in steps else 1
        ),
    }
    for where, factor in factors.items():
        if width % factor or height % factor:
            found, expected = str(factor), f"a divisor of the input's {width}x{height} px"
            raise BadInputError(f"{config}: {where}", found, expected, "Change one of the two.")
    if tuple(codec.get("input_size", size)) != size:
        raise _misfit(
            f"{config}: {CODEC}.input_size", codec["input_size"],
            f"{list(size)}, the input_size of the test pipeline",
        )  # fmt: skip
    if preprocessor.get("bgr_to_rgb") and preprocessor.get("rgb_to_bgr"):
        where, expected = f"{config}: {PREPROCESSOR}", "one of the two: each swaps the channels"
        raise BadInputError(where, "bgr_to_rgb and rgb_to_bgr", expected, "Remove one.")
    if (preprocessor.get("mean") is None) != (preprocessor.get("std") is None):
        where, expected = f"{config}: {PREPROCESSOR}", "mean and std, or neither"
        raise BadInputError(where, "one of mean and std", expected, "Give both.")
    if codec.get("label_smooth_weight") and codec.get("smoothing_type") != "standard":
        where, found = f"{config}: {CODEC}.label_smooth_weight", str(codec["label_smooth_weight"])
        raise BadInputError(where, found, "0 for smoothing_type 'gaussian'", "Remove it.")
    if codec.get("use_dark"):
        _check_dark(config, codec)


def _check_selection(
    config: str, indices: Sequence[int] | None, channels: Any, codec: Mapping[str, Any]
) -> None:
    """Check that a head has the keypoints that are selected."""
    if not indices or not isinstance(channels, int):
        return
    keypoints = channels // 3 if codec.get("heatmap_type") == "combined" else channels
    if max(indices) >= keypoints:
        expected = f"indices below {keypoints}, the keypoints that the head outputs"
        raise _misfit(f"{config}: {TEST_CFG}.{SELECTION}", list(indices), expected)


def _check_dark(config: str, codec: Mapping[str, Any]) -> None:
    """SimCC's refinement blurs with a kernel that follows from sigma (`SimCCLabel.decode`)."""
    sigma = codec.get("sigma", 6.0)
    values = sigma if isinstance(sigma, list | tuple) else (sigma,)
    if not all(math.isfinite(v) and 0.8 <= v <= 38 for v in values):
        raise _misfit(f"{config}: {CODEC}.sigma", sigma, "values from 0.8 to 38, for use_dark")


def _misfit(subject: str, value: Any, expected: str) -> BadInputError:
    return BadInputError(subject, reprlib.repr(value), expected, "Change it in the model config.")
