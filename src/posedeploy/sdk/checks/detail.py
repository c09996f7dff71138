"""`detail.json` against the rest: the model config's facts, and the keypoints' names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from posedeploy.codecs import Parameter, decisive_parameters
from posedeploy.errors import BadInputError
from posedeploy.sdk.checks import Finding, error, from_exception, warning
from posedeploy.sdk.fields import MAX_NUMBER, Node, is_json, show
from posedeploy.sdk.folder import DEPLOY, DETAIL, PIPELINE, SdkModel

# ImageNet's means in RGB order, which every MMPose config with bgr_to_rgb has.
IMAGENET_RGB = [123.675, 116.28, 103.53]
SILENT = "keypoints are silently wrong"

# fmt: off
FACTS: tuple[tuple[str, str, str, Any], ...] = (
    # fact of the model config, transform that must agree with it, its field, default of the field
    ("bgr_to_rgb", "Normalize",                 "to_rgb",     True),
    ("color_type", "LoadImageFromFile",         "color_type", "color"),
    ("input_size", "BottomupResize",            "input_size", None),
    ("input_size", "TopDownAffine",             "image_size", None),
    ("mean",       "Normalize",                 "mean",       None),
    ("pad_val",    "BottomupResize",            "pad_val",    [0, 0, 0]),
    ("padding",    "TopDownGetBboxCenterScale", "padding",    1.25),
    ("std",        "Normalize",                 "std",        None),
    ("use_udp",    "BottomupResize",            "use_udp",    False),
    ("use_udp",    "TopDownAffine",             "use_udp",    False),
)
# fmt: on


def same(left: Any, right: Any) -> bool:
    """True if two JSON values are equal, numbers to 6 digits."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if is_json(left, float) and is_json(right, float):
        if max(abs(left), abs(right)) > MAX_NUMBER:
            return bool(left == right)  # an integer may be too large for a float
        return math.isclose(left, right, rel_tol=1e-6)
    return type(left) is type(right) and bool(left == right)


def step(model: SdkModel, kind: str) -> Node | None:
    """The first transform of this type."""
    return next((t for t in model.transforms if t.value["type"] == kind), None)


def section(model: SdkModel, name: str) -> dict[str, Any]:
    """A section of `detail.json: $.posedeploy`, {} where it is missing or no object."""
    ours = model.detail.get("posedeploy", {})
    found = ours.get(name, {}) if isinstance(ours, dict) else {}
    return found if isinstance(found, dict) else {}


def check_facts(model: SdkModel) -> Iterator[Finding]:
    """Transforms and codec parameters against the model config's facts."""
    facts = section(model, "model")
    for name, transform, key, default in FACTS:
        fields = step(model, transform)
        if name not in facts or fields is None:
            continue
        value = fields.value.get(key, default)
        if not same(value, facts[name]):
            expected = f"{show(facts[name])}, as the model config has it"
            yield error(PIPELINE, f"{fields.path}.{key}", show(value), expected, SILENT)
    codec = facts.get("codec")
    if isinstance(codec, dict):
        yield from _check_codec(model.params, codec)
    norm = step(model, "Normalize")
    if norm is not None and "bgr_to_rgb" not in facts:
        yield from _check_color_order(norm)


def _check_codec(params: Node, codec: dict[str, Any]) -> Iterator[Finding]:
    for parameter in (*decisive_parameters(), Parameter("type")):
        if parameter.only_with and codec.get(parameter.only_with) is not True:
            continue
        key = parameter.name
        wanted, value = (
            parameter.default if side.get(key) is None else side[key]
            for side in (codec, params.value)
        )
        if wanted is not None and not same(value, wanted):
            expected = f"{show(wanted)}, as the codec of the model config has it"
            yield error(PIPELINE, f"{params.path}.{key}", show(value), expected, SILENT)


def _check_color_order(norm: Node) -> Iterator[Finding]:
    """Without facts: ImageNet's means tell the order that they are in."""
    to_rgb, mean = norm.value.get("to_rgb", True), norm.value.get("mean")
    if isinstance(to_rgb, bool) and same(mean, IMAGENET_RGB[::-1] if to_rgb else IMAGENET_RGB):
        yield warning(
            PIPELINE, f"{norm.path}.to_rgb", show(to_rgb),
            f"{show(not to_rgb)}: the means are ImageNet's in the other order",
            "if so, keypoints are far off and no client notices",
        )  # fmt: skip


def check_meta(model: SdkModel, keypoints: int | None) -> Iterator[Finding]:
    """The keypoints' names against each other and against the number in the graph, if known."""
    try:
        meta = model.dataset_meta
    except BadInputError as problem:
        yield from_exception(problem, DETAIL)
        return
    path, as_graph = "$.posedeploy.dataset_meta", f"{keypoints}, as the graph has"
    names, links = len(meta.keypoint_names), len(meta.skeleton_links)
    if names and keypoints not in (None, names):
        found, why = f"{names} names", "keypoints get wrong names"
        yield error(DETAIL, f"{path}.keypoint_names", found, as_graph, why)
    lengths = (
        ("sigmas", len(meta.sigmas), names),
        ("keypoint_colors", len(meta.keypoint_colors), names),
        ("skeleton_link_colors", len(meta.skeleton_link_colors), links),
    )
    for key, length, wanted in lengths:
        if length not in (0, wanted):
            yield warning(DETAIL, f"{path}.{key}", f"{length} entries", f"{wanted} or none")
    if len(set(meta.keypoint_names)) != names:
        yield warning(DETAIL, f"{path}.keypoint_names", "a name twice", "each name once")
    facts = section(model, "model")
    named, classes = len(meta.class_names), facts.get("num_classes", 1)
    if named and named != classes:
        found, why = f"{named} names", "people get names of wrong classes"
        yield error(DETAIL, f"{path}.class_names", found, f"{classes}, as num_classes has", why)
    declared = facts.get("num_keypoints")
    if isinstance(declared, int) and keypoints not in (None, declared):
        yield error(DETAIL, "$.posedeploy.model.num_keypoints", show(declared), as_graph)


def check_provenance(model: SdkModel, opset: int | None) -> Iterator[Finding]:
    """The conversion as `detail.json` records it, against the files in the folder."""

    def recorded(section: str, key: str) -> Any:
        value = model.detail.get(section)
        return value.get(key) if isinstance(value, dict) else None

    entry, as_deploy = model.model, f"as in {DEPLOY}"
    backend, asked = recorded("backend_config", "type"), recorded("onnx_config", "opset_version")
    for path, value, kind, actual, where in (
        ("$.version", model.detail.get("version"), str, model.version, as_deploy),
        ("$.backend_config.type", backend, str, entry.backend, as_deploy),
        ("$.onnx_config.opset_version", asked, int, opset, "as the graph has"),
    ):
        if isinstance(value, kind) and actual not in (None, value):
            yield warning(DETAIL, path, show(value), f"{actual!r}, {where}")
    precision = recorded("backend_config", "precision")
    if isinstance(precision, str) and precision.upper() != entry.precision:
        expected = f"{precision.upper()}, as backend_config in {DETAIL} asks for"
        yield warning(DEPLOY, "$.models[0].precision", entry.precision, expected)
