"""TensorRT: the exported ONNX graph, typed for the flow's precision, as an engine.

The engine runs on the TensorRT version and the kind of GPU that built it, and nowhere else.

fp16 is a graph of both types with float32 at its ends; int8 has explicit pairs of QuantizeLinear
and DequantizeLinear around its layers, with zero points of 0.  Either runs on ONNX Runtime as it
is, so it can be judged where no GPU is.  From 10.12 on, builder flags for precisions are
deprecated, and 11 has none: there the graph's own types decide ("strongly typed").

No GPU is needed to check this module against the real API: `suites/contract/tensorrt` does.  A
call of TensorRT that fails returns False or None, and logs the reason, which goes into the error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted, Declared, int8_recipe
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.paths import cache_dir, scratch_folder, whole_file
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.float_layers import parts
from posedeploy.precision.fp16 import to_fp16
from posedeploy.precision.qdq import RECIPES, quantize_onnx
from posedeploy.runtime import StoredPrecision, TensorInfo, backend_row
from posedeploy.runtime.tensorrt import (
    BUILD_FILE,
    DTYPES,
    TENSORRT,
    Binding,
    as_text,
    collecting_logger,
    target,
)

if TYPE_CHECKING:
    import tensorrt as trt

FIRST_STRONGLY_TYPED = Version("10.12")
# Precision -> names of the builder flags that allow it where types do not decide
LEGACY_FLAGS: Mapping[str, tuple[str, ...]] = {"fp16": ("FP16",), "fp32": (), "int8": ("INT8",)}
# Batches of a profile that the deploy config leaves open: those of MMDeploy's own configs
DEFAULT_BATCHES = (1, 2, 4)
_SHAPES = ("min_shape", "opt_shape", "max_shape")
Shape = tuple[int, ...]
# What TensorRT's ONNX parser reads from 10.0 on (onnx-tensorrt, docs/operators.md).
OPSETS = range(9, 21)
# ITopKLayer's largest k, in every version (TensorRT's C++ API reference).
MAX_TOP_K = 3840
TYPED_FILE = "typed.onnx"


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """Builds on the first device that CUDA shows; no plugin is used.

    Detectors end before non-maximum suppression, unless the deploy config's
    `backend_config.stage` is 'nms': TensorRT has a layer of its own for it.
    """
    row = backend_row("tensorrt")
    strong = is_strongly_typed(*builder_facts())
    settings = build_settings(deploy_config, graph_inputs(ir), strong)
    here = target()
    timings = timing_cache_file(here)
    with scratch_folder("tensorrt") as scratch:
        graph, recipe = typed_graph(ir, deploy_config, scratch, calibration, strongly_typed=strong)
        engine = build_engine(graph, settings, read_timings(timings))
    (folder / row.main_file).write_bytes(engine.plan)
    facts = {  # which cannot be read from the engine itself
        **here,
        "tensorrt": engine.version,
        "precision": settings.precision,
        "tf32": "off",
        "network": "strongly typed" if settings.strongly_typed else "builder flags",
        "flags": ",".join(settings.flags),
        "workspace": str(settings.workspace),
    }
    (folder / BUILD_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_timings(timings, engine.timing_cache)
    return Converted((row.main_file,), settings.precision, recipe=recipe)


def typed_graph(
    ir: Path,
    deploy_config: DeployConfig,
    folder: Path,
    calibration: CalibrationSet | None = None,
    *,
    strongly_typed: bool = True,
) -> tuple[Path, Mapping[str, Any]]:
    """The graph for a deploy config's precision, and how that was lowered, for `detail.json`.

    A graph of other types than float32 is written into `folder`.  `strongly_typed` is False for a
    TensorRT that takes fp16 from a builder flag; int8 is explicit everywhere.

    Raises:
        ConversionError: The graph cannot be had in this precision, or TensorRT does not take it.
    """
    target = folder / TYPED_FILE
    recipe: Mapping[str, Any] = {}
    if deploy_config.precision == "int8":
        measured = required(calibration, deploy_config.path)
        done = quantize_onnx(ir, target, measured, RECIPES["tensorrt"])
        recipe = int8_recipe("explicit QDQ, per channel, S8S8, min-max", done, measured)
    elif deploy_config.precision == "fp16" and strongly_typed:
        kept = to_fp16(ir, target)
        recipe = {"name": "mixed-precision graph, float32 ends", "kept": parts(kept)}
    else:
        target = ir
        if deploy_config.precision == "fp16":
            recipe = {"name": "builder flag FP16: TensorRT chooses layer by layer"}
    check(target)
    return target, recipe


def check(path: Path) -> None:
    """ConversionError, before a device is used, for a graph that TensorRT's parser refuses."""
    import onnx

    if reasons := list(obstacles(onnx.load(path))):
        raise ConversionError(
            "convert", str(path), "; ".join(reasons), "a graph that TensorRT reads",
            "Change the deploy config: opset_version, or pre_top_k and keep_top_k.",
        )  # fmt: skip


def obstacles(model: Any) -> Iterator[str]:
    """A sentence for each thing in a graph that TensorRT does not take."""
    from onnx import TensorProto, numpy_helper

    for entry in model.opset_import:
        if entry.domain not in {"", "ai.onnx"}:
            yield f"operators of {entry.domain}, which would need a plugin"
        elif entry.version not in OPSETS:
            yield f"opset {entry.version}; TensorRT reads {OPSETS[0]} to {OPSETS[-1]}"
    constants = {
        tensor.name: int(numpy_helper.to_array(tensor).reshape(-1)[0])
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT64 and math.prod(tensor.dims) == 1
    }
    for node in model.graph.node:
        count = constants.get(node.input[1], 0) if node.op_type == "TopK" else 0
        if count > MAX_TOP_K:
            yield f"{node.name} takes the {count} best; TensorRT's TopK takes {MAX_TOP_K} at most"


def graph_inputs(path: Path) -> Mapping[str, tuple[int | str, ...]]:
    """Name -> shape of the graph's inputs, with a name in place of a dynamic dimension."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
            for dim in value.type.tensor_type.shape.dim
        )
        for value in graph.input
    }


class Profile(NamedTuple):
    """Shapes of one input, NCHW: the smallest, the one the engine is tuned for, the largest."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class BuildSettings:
    """Settings of the builder.

    `workspace` is the limit of scratch memory, bytes (0: TensorRT's default, all of the device's),
    `flags` are names of `BuilderFlag`s, and `profiles` has the inputs that are dynamic.
    `capabilities` are those that the engine is to run on, as '8.6'; none for the binding's own.
    """

    precision: StoredPrecision
    workspace: int
    strongly_typed: bool
    flags: tuple[str, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()


def is_strongly_typed(version: str, flags: Sequence[str]) -> bool:
    """True if a TensorRT of this version and these builder flags takes types from the graph."""
    return "FP16" not in flags or Version(version) >= FIRST_STRONGLY_TYPED


def build_settings(
    deploy_config: DeployConfig,
    inputs: Mapping[str, Sequence[int | str]],
    strongly_typed: bool,
    capabilities: tuple[str, ...] = (),
) -> BuildSettings:
    """What `common_config` and `model_inputs` of a deploy config mean for the builder.

    Raises:
        BadInputError: A profile is incomplete, or does not fit the graph.
    """
    backend: Mapping[str, Any] = deploy_config.raw["backend_config"]
    common: Mapping[str, Any] = backend.get("common_config") or {}
    flags = () if strongly_typed else LEGACY_FLAGS[deploy_config.precision]
    if flags and common.get("fp16_mode") and "FP16" not in flags:
        flags = (*flags, "FP16")
    entries = backend.get("model_inputs") or [{}]
    given: Mapping[str, Any] = entries[0].get("input_shapes") or {}
    where = f"{deploy_config.path}: backend_config.model_inputs"
    return BuildSettings(
        precision=StoredPrecision(deploy_config.precision),
        workspace=int(common.get("max_workspace_size", 0)),
        strongly_typed=strongly_typed,
        flags=flags,
        profiles={
            name: _profile(where, name, shape, given.get(name))
            for name, shape in inputs.items()
            if not all(isinstance(dim, int) for dim in shape)
        },
        capabilities=capabilities,
    )


def _profile(
    where: str, name: str, shape: Sequence[int | str], given: Mapping[str, Any] | None
) -> Profile:
    """The profile of one input; only its batch may be dynamic."""
    if given is None:
        sizes = tuple(int(dim) for dim in shape[1:])
        return Profile(*((batch, *sizes) for batch in DEFAULT_BATCHES))
    missing = [key for key in _SHAPES if key not in given]
    if missing:
        raise BadInputError(
            f"{where}: {name}", f"no {', '.join(missing)}", f"all of {', '.join(_SHAPES)}",
            "Add what is missing.",
        )  # fmt: skip
    shapes = tuple(tuple(int(size) for size in given[key]) for key in _SHAPES)
    fits = {len(s) for s in shapes} == {len(shape)} and all(
        low <= opt <= high and (isinstance(dim, str) or low == high == dim)
        for low, opt, high, dim in zip(*shapes, shape, strict=True)
    )
    if not fits:
        listed = ", ".join(f"{key} {list(s)}" for key, s in zip(_SHAPES, shapes, strict=True))
        raise BadInputError(
            f"{where}: {name}", listed, f"min <= opt <= max, and the graph's sizes {list(shape)}",
            "Only the batch may change: height and width are the model's.",
        )  # fmt: skip
    return Profile(*shapes)


def timing_cache_file(here: Mapping[str, str]) -> Path:
    """The file with timings of builds: one for each TensorRT version and kind of device."""
    words = "_".join(here[key] for key in sorted(here)) or "unknown"
    return cache_dir() / "tensorrt" / f"{re.sub(r'[^A-Za-z0-9._]+', '-', words)}.timing"


def read_timings(path: Path) -> bytes:
    """A timing cache, or nothing."""
    return path.read_bytes() if path.is_file() else b""


def write_timings(path: Path, content: bytes) -> None:
    """Put a timing cache in place whole; of builds that end together, the last one wins."""
    if content:
        with whole_file(path) as temporary:
            temporary.write_bytes(content)


@dataclass(frozen=True)
class Engine:
    """The serialized engine, the timings of this and earlier builds, and TensorRT's version.

    `declared` are the ends of the network that was built ahead of time, as NVIDIA's parser has
    them; None of an engine for the current device, which can be loaded and asked.
    """

    plan: bytes
    timing_cache: bytes
    version: str
    declared: Declared | None = None


def builder_facts(binding: Binding = TENSORRT) -> tuple[str, tuple[str, ...]]:
    """Version of the TensorRT that is installed, and the names of its builder flags."""
    trt = binding.load()
    return str(trt.__version__), tuple(trt.BuilderFlag.__members__)


def build_engine(
    graph: Path, settings: BuildSettings, timings: bytes = b"", binding: Binding = TENSORRT
) -> Engine:
    """Build an engine: for the current device, or ahead of time for the chosen capabilities.

    Raises:
        ConversionError: With everything that is logged.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = binding.load()
    logger, errors = collecting_logger(binding)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what a factory that returned nothing becomes in Python
        raise _failed(graph, [str(error), *errors], binding) from error
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed if settings.strongly_typed else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        details = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise _failed(graph, details or errors, binding)
    config = _configured(trt, builder, settings)
    if binding.ahead_of_time:
        _set_capabilities(trt, config, settings.capabilities)
    else:
        _set_timings(config, timings)
    errors.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(graph, errors, binding)
    if binding.ahead_of_time:
        return Engine(_content(plan), b"", str(trt.__version__), _declared(network))
    cache = config.get_timing_cache()
    timings = _content(cache.serialize()) if cache is not None else b""
    return Engine(_content(plan), timings, str(trt.__version__))


def _declared(network: trt.INetworkDefinition) -> Declared:
    """What NVIDIA's parser made of a graph's inputs and outputs; a free batch is 'batch'."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return Declared(tuple(map(_info, inputs)), tuple(map(_info, outputs)))


def _info(tensor: trt.ITensor) -> TensorInfo:
    sizes = [tensor.shape[axis] for axis in range(len(tensor.shape))]
    shape = tuple(
        size if size >= 0 else ("batch" if axis == 0 else "?") for axis, size in enumerate(sizes)
    )
    return TensorInfo(tensor.name, shape, DTYPES.get(tensor.dtype.name, tensor.dtype.name))


def _content(memory: trt.IHostMemory) -> bytes:
    buffer: Any = memory  # it has Python's buffer protocol, which its type does not show
    return bytes(buffer)


def _parser_error(error: trt.ParserError) -> str:
    node = f"{error.node_operator()} {error.node_name()!r}"
    return (
        f"{error.desc()} [node {error.node()}: {node}; {error.code()}, "
        f"{error.func()} at {error.file()}:{error.line()}]"
    )


def _configured(module: Any, builder: trt.Builder, settings: BuildSettings) -> trt.IBuilderConfig:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default, in every version
    for name in settings.flags:
        config.set_flag(trt.BuilderFlag.__members__[name])
    if settings.workspace > 0:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    if settings.profiles:
        profile = builder.create_optimization_profile()
        for name, (smallest, usual, largest) in settings.profiles.items():
            profile.set_shape(
                name, trt.Dims(list(smallest)), trt.Dims(list(usual)), trt.Dims(list(largest))
            )
        config.add_optimization_profile(profile)
    return config


def _set_timings(config: trt.IBuilderConfig, timings: bytes) -> None:
    """Start from earlier timings.

    TensorRT refuses those of another version or device, and damaged ones, as no cache at all
    (None, where a C++ factory returns nothing) or when the cache is set.
    """
    for content in (timings, b""):
        cache: trt.ITimingCache | None = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            break


def _set_capabilities(trt: Any, config: Any, capabilities: Sequence[str]) -> None:
    """Choose compute capabilities; TensorRT for RTX alone has these members."""
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
    for index, word in enumerate(capabilities):
        name = f"SM{word.replace('.', '')}"
        config.set_compute_capability(trt.ComputeCapability.__members__[name], index)


def _failed(graph: Path, errors: list[str], binding: Binding) -> ConversionError:
    return ConversionError(
        "convert", str(graph), f"{binding.display} refuses it: {as_text(errors)}",
        f"a graph that {binding.display} builds",
        "Report this model with the operator that the message names.",
    )  # fmt: skip
