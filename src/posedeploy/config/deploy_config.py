"""A deploy config as a typed value.

The fields are MMDeploy's (`onnx_config` or `ir_config`, `codebase_config`, `backend_config`,
`calib_config`), so that MMDeploy's files for MMPose load unchanged.  One field is ours:
`onnx_config.exporter` chooses the exporter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posedeploy.compat import defer
from posedeploy.config.composing import compose, config_text
from posedeploy.config.deploy_fields import check_fields
from posedeploy.config.files import config_root, read_config
from posedeploy.config.listing import BASE_FILE, file_names, list_deploy_configs
from posedeploy.config.literals import NotLiteralError, read_literals
from posedeploy.config.naming import (
    DEFAULT_PRECISION,
    DeployConfigName,
    conflict,
    grammar,
    precisions,
    split_name,
)
from posedeploy.config.nearest import foreign_backend, nearest_name
from posedeploy.errors import BadInputError, did_you_mean
from posedeploy.heads import head_of_outputs
from posedeploy.runtime import registry

EXPORTERS = ("torchscript", "dynamo")
# 11 is MMDeploy's choice and the first with NonMaxSuppression; 18 is the last of ONNX IR 8.
OPSETS = range(11, 19)
ORDER = "The order is DEPLOY_CFG MODEL_CFG CHECKPOINT IMAGE."  # of `posedeploy convert`
MMDEPLOY_FOLDER = ("configs", "mmpose")  # where MMDeploy has its deploy configs for MMPose


@dataclass(frozen=True)
class NmsSettings:
    """`codebase_config.post_processing`; the model's own `test_cfg` wins over the thresholds."""

    score_threshold: float
    iou_threshold: float
    max_output_boxes_per_class: int
    pre_top_k: int
    keep_top_k: int


@dataclass(frozen=True)
class CalibrationSettings:
    """`calib_config`: the images that the ranges of int8 are measured on.

    MMDeploy's fields (`create_calib`, `calib_file`) name a cache of its own and change nothing.
    """

    images: Path | None = None  # a folder; None for drawn figures
    count: int | None = None  # at most this many inputs; None for the default
    max_pixels: int | None = None  # larger images are left out; None for the default


@dataclass(frozen=True)
class DeployConfig:
    """One deploy config.

    Attributes:
        input_shape: (W, H) in input px, from the intermediate representation's `input_shape` or
            else the backend's `model_inputs`; None takes the model's.
        export_postprocess: True if the graph of a top-down model holds the decoding too, and
            ends with keypoints.
    """

    path: Path  # the file it was read from; its name if it was composed
    name: DeployConfigName | None  # None if it is not of the grammar
    backend: str
    precision: str  # of the stored weights, or bf16: computed in, of float32 weights
    ir: str  # 'onnx' or 'torchscript'
    save_file: str  # file name of the exported intermediate representation
    exporter: str
    opset: int
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    input_shape: tuple[int, int] | None
    dynamic_batch: bool
    nms: NmsSettings | None  # None for top-down models
    calibration: CalibrationSettings
    export_postprocess: bool
    raw: Mapping[str, Any] = field(repr=False, compare=False)  # all of it, plain dicts

    @property
    def shape_mode(self) -> str:
        """'dynamic' if the batch is, else 'static'."""
        return "dynamic" if self.dynamic_batch else "static"

    @property
    def inference_precision(self) -> str:
        """What to compute in, in the backend's own word; '' where the precision says it.

        That is `backend_config.inference_precision`, and 'bf16' of the configs of that precision.
        """
        computed = "bf16" if self.precision == "bf16" else ""
        return str(self.raw["backend_config"].get("inference_precision", computed))

    @property
    def variant(self) -> str:
        """Word of the head kind that the output names belong to; '' if they are no kind's."""
        head = head_of_outputs(self.output_names, self.name.variant if self.name else None)
        return head.word if head else ""


def is_deploy_config_name(name: str) -> bool:
    """True for the name (with or without '.py') of a file of ours or of a config to compose.

    A path that ends like MMDeploy's, 'configs/mmpose/NAME.py', stands for the name.
    """
    return _by_name(name) is not None


def _by_name(name: str) -> Path | DeployConfigName | None:
    folder, _, last = name.rpartition("/")
    stem = (last if Path(folder).parts[-2:] == MMDEPLOY_FOLDER else name).removesuffix(".py")
    if stem in {BASE_FILE, *file_names()}:
        return config_root() / f"{stem}.py"
    return split_name(stem)


def find_deploy_config(name_or_path: str | Path) -> Path | DeployConfigName:
    """The file of a deploy config, or the parts of its name where it is composed.

    Raises:
        BadInputError: Neither a file nor a name of the grammar, as a path of MMDeploy or without.
    """
    path = Path(name_or_path)
    source = path if path.is_file() else _by_name(str(name_or_path))
    if source is None:
        raise BadInputError(
            f"deploy config {name_or_path}",
            "a folder" if path.is_dir() else "no such file and no such name",
            f"a path, or a name: {grammar()}", _advice(path),
        )  # fmt: skip
    if isinstance(source, Path) and source.suffix != ".py":
        raise BadInputError(
            f"deploy config {name_or_path}", f"a {source.suffix or 'suffixless'} file",
            "a deploy config (.py), or the name of one", ORDER,
        )  # fmt: skip
    return source


def _advice(path: Path) -> str:
    """The next step for what is no deploy config."""
    if path.is_dir() and (files := sorted(path.glob("*.py"))):
        return f"Name the file in it: {files[0]}"
    if str(path) in registry.backend_names():
        return f"That is a backend: `posedeploy configs list --backend {path}` shows its configs."
    if backend := foreign_backend(path.stem):
        return f"{backend} is a backend of MMDeploy's that is not here; docs/migrating.md has all."
    if name := nearest_name(path.stem):
        return f"Did you mean {name}?"
    return did_you_mean(path.stem, list_deploy_configs(), "See `posedeploy configs list`.")


def read_deploy_config(name_or_path: str | Path) -> Any:
    """A deploy config as an `mmengine.config.Config`, from its file or composed from its name.

    As `load_deploy_config`, it runs a file only where there is more than literals in it.

    Raises:
        BadInputError: No such config, or its file is no MMEngine config.
    """
    defer()
    from mmengine.config import Config

    source = find_deploy_config(name_or_path)
    raw = _raw(source) if isinstance(source, Path) else compose(source)
    return Config(raw, cfg_text=config_text(raw), filename=str(source))


def load_deploy_config(name_or_path: str | Path, *, run: bool = True) -> DeployConfig:
    """Read a deploy config by path or by name.

    A file of literals is read without running it; `run` is whether another one is run, by
    MMEngine.

    Raises:
        BadInputError: No such config, not a deploy config for MMPose, or a field that is wrong.
        NotLiteralError: The file would have to be run, and `run` is False.
    """
    source = find_deploy_config(name_or_path)
    if isinstance(source, Path):
        return _typed(source, _raw(source, run=run))
    return _typed(Path(str(source)), compose(source))


def _raw(path: Path, *, run: bool = True) -> dict[str, Any]:
    try:
        return read_literals(path)
    except NotLiteralError:
        if not run:
            raise
        raw: dict[str, Any] = read_config(path, "deploy config").to_dict()
        return raw


def deploy_config_text(name_or_path: str | Path) -> str:
    """A deploy config as Python text with all that it inherits, without `_base_` files."""
    return config_text(load_deploy_config(name_or_path).raw)


def deploy_config_from(config: Any) -> DeployConfig:
    """As `load_deploy_config`, of an `mmengine.config.Config` that was read before."""
    return _typed(Path(config.filename or "deploy config"), config.to_dict())


def _section(path: Path, raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        if isinstance(raw.get(name), dict):
            return dict(raw[name])
    listed = ", ".join(sorted(raw)[:5]) + (", …" if len(raw) > 5 else "") or "nothing"
    raise BadInputError(
        str(path), f"no {' or '.join(names)} (top-level names: {listed})",
        "a deploy config: onnx_config or ir_config, codebase_config, backend_config",
        "Is this a model config? The deploy config comes first on the command line.",
    )  # fmt: skip


def _typed(path: Path, raw: dict[str, Any]) -> DeployConfig:
    check_fields(path, raw)
    backend_config = _section(path, raw, "backend_config")
    codebase = _section(path, raw, "codebase_config")
    ir_config = _section(path, raw, "ir_config", "onnx_config")
    if codebase.get("type") != "mmpose":
        raise BadInputError(
            f"{path}: codebase_config.type", repr(codebase.get("type")), "'mmpose'",
            "This project deploys MMPose models; use a pose-detection config.",
        )  # fmt: skip
    if "type" not in backend_config:
        raise BadInputError(f"{path}: backend_config.type", "nothing", "a value", "Add the field.")
    opset = int(ir_config.get("opset_version", 17))
    if opset not in OPSETS:
        raise BadInputError(
            f"{path}: onnx_config.opset_version", str(opset), f"{OPSETS[0]} to {OPSETS[-1]}",
            "Ask for 17, which every client here reads.",
        )  # fmt: skip
    axes = ir_config.get("dynamic_axes") or {}
    input_names = tuple(ir_config.get("input_names", ("input",)))
    name = split_name(path.name)
    return DeployConfig(
        path=path,
        name=name if name and not conflict(name) else None,
        backend=str(backend_config["type"]),
        precision=_precision(path, backend_config),
        ir=str(ir_config.get("type", "onnx")),
        save_file=str(ir_config.get("save_file", "end2end.onnx")),
        exporter=_one_of(path, "onnx_config.exporter", ir_config.get("exporter"), EXPORTERS),
        opset=opset,
        input_names=input_names,
        output_names=tuple(ir_config.get("output_names", ("output",))),
        input_shape=_shape(path, ir_config.get("input_shape")) or _backend_shape(backend_config),
        dynamic_batch=0 in {int(axis) for axis in axes.get(input_names[0], {})},
        nms=_nms(path, codebase.get("post_processing")),
        calibration=_calibration(path, raw.get("calib_config") or {}),
        export_postprocess=_flag(path, codebase, "export_postprocess"),
        raw=raw,
    )


def _one_of(path: Path, where: str, value: object, allowed: tuple[str, ...]) -> str:
    value = allowed[0] if value is None else value
    if value not in allowed:
        raise BadInputError(f"{path}: {where}", repr(value), f"one of {allowed}", "Change it.")
    return str(value)


def _flag(path: Path, codebase: Mapping[str, Any], name: str) -> bool:
    value = codebase.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadInputError(
            f"{path}: codebase_config.{name}", repr(value), "True or False", "Change the field."
        )
    return bool(value)


def _precision(path: Path, backend_config: Mapping[str, Any]) -> str:
    """MMDeploy has three ways to write it: lower case, upper case, TensorRT's flags."""
    common = backend_config.get("common_config") or {}
    for precision in ("int8", "fp16"):
        if common.get(f"{precision}_mode"):
            return precision
    value = str(backend_config.get("precision", DEFAULT_PRECISION)).lower()
    return _one_of(path, "backend_config.precision", value, precisions())


def _shape(path: Path, value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == 2 and all(int(v) > 0 for v in value):
        return int(value[0]), int(value[1])
    raise BadInputError(
        f"{path}: input_shape", repr(value), "None or [W, H] in px", "Change the field."
    )


def _backend_shape(backend_config: Mapping[str, Any]) -> tuple[int, int] | None:
    """(W, H) of the first NCHW shape in `model_inputs`, which every backend nests differently."""
    shape = next(_nchw_shapes(backend_config.get("model_inputs")), None)
    return (shape[3], shape[2]) if shape else None


def _nchw_shapes(node: object) -> Iterator[list[int]]:
    if isinstance(node, list) and len(node) == 4 and all(isinstance(v, int) for v in node):
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _nchw_shapes(child)


def _nms(path: Path, section: Mapping[str, Any] | None) -> NmsSettings | None:
    if section is None:
        return None
    try:
        return NmsSettings(
            float(section["score_threshold"]), float(section["iou_threshold"]),
            int(section["max_output_boxes_per_class"]),
            int(section["pre_top_k"]), int(section["keep_top_k"]),
        )  # fmt: skip
    except KeyError as error:
        raise BadInputError(
            f"{path}: codebase_config.post_processing", f"no {error}", "the field", "Add it."
        ) from error


def _calibration(path: Path, section: Mapping[str, Any]) -> CalibrationSettings:
    """`calib_config`; a relative `images` is relative to the folder of the deploy config."""
    images, count = section.get("images"), section.get("count")
    if images is not None and not isinstance(images, str):
        raise BadInputError(
            f"{path}: calib_config.images", repr(images), "the path of a folder of images",
            "Change the field, or remove it to calibrate on drawn figures.",
        )  # fmt: skip
    if count is not None and not (isinstance(count, int) and count > 0):
        raise BadInputError(
            f"{path}: calib_config.count", repr(count), "a number of inputs, 1 or more",
            "Change the field, or remove it.",
        )  # fmt: skip
    return CalibrationSettings(path.parent / images if images else None, count)
