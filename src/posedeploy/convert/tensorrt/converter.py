"""TensorRT: the exported ONNX graph, typed for the flow's precision, as an engine.

The engine runs on the TensorRT version and the kind of GPU that built it, and nowhere else;
`target` returns which these are here.

No GPU is needed to check this module against the real API: `suites/contract/tensorrt` does.  A
call of TensorRT that fails returns False or None, and logs the reason, which goes into the error.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posedeploy.config import DeployConfig
from posedeploy.convert.tensorrt.graph import graph_inputs, typed_graph
from posedeploy.convert.tensorrt.settings import BuildSettings, build_settings, is_strongly_typed
from posedeploy.convert.types import Converted
from posedeploy.errors import ConversionError
from posedeploy.paths import cache_dir, whole_file
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import backend_row
from posedeploy.runtime.tensorrt import BUILD_FILE, as_text, collecting_logger, target

if TYPE_CHECKING:
    import tensorrt as trt


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """Builds on the first device that CUDA shows.

    Detectors end before non-maximum suppression, which the host does; a deploy config whose
    `backend_config.stage` is 'nms' keeps it in the graph, where TensorRT has a layer of its own
    for it.  No plugin is used either way.
    """
    row = backend_row("tensorrt")
    strong = is_strongly_typed(*builder_facts())
    settings = build_settings(deploy_config, graph_inputs(ir), strong)
    here = target()
    timings = timing_cache_file(here)
    with tempfile.TemporaryDirectory(prefix="tensorrt-") as scratch:
        graph, recipe = typed_graph(
            ir, deploy_config, Path(scratch), calibration, strongly_typed=strong
        )
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
    text = json.dumps(facts, indent=1)
    (folder / BUILD_FILE).write_text(text + "\n", encoding="utf-8")
    write_timings(timings, engine.timing_cache)
    return Converted((row.main_file,), settings.precision, recipe=recipe)


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
    """The serialized engine, the timings of this and earlier builds, and TensorRT's version."""

    plan: bytes
    timing_cache: bytes
    version: str


def builder_facts() -> tuple[str, tuple[str, ...]]:
    """Version of the TensorRT that is installed, and the names of its builder flags."""
    import tensorrt as trt

    return str(trt.__version__), tuple(trt.BuilderFlag.__members__)


def build_engine(graph: Path, settings: BuildSettings, timings: bytes = b"") -> Engine:
    """Build an engine of an ONNX file for the current device, with timings of earlier builds.

    Raises:
        ConversionError: The parser or the builder refuses; with everything they logged.
    """
    import tensorrt as trt

    logger, errors = collecting_logger()
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what a factory that returned nothing becomes in Python
        raise _failed(graph, [str(error), *errors]) from error
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed if settings.strongly_typed else 0)
    _parse(graph, network, logger, errors)
    config = _configured(builder, settings, timings)
    errors.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(graph, errors)
    cache = config.get_timing_cache()
    timings = _content(cache.serialize()) if cache is not None else b""
    return Engine(_content(plan), timings, str(trt.__version__))


def _content(memory: trt.IHostMemory) -> bytes:
    buffer: Any = memory  # it has Python's buffer protocol, which its type does not show
    return bytes(buffer)


def _parse(
    graph: Path, network: trt.INetworkDefinition, logger: trt.ILogger, errors: list[str]
) -> None:
    """Read an ONNX file into a network; a refusal has every error of the parser, in full."""
    import tensorrt as trt

    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(graph)):
        return
    details = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    raise _failed(graph, details or errors)


def _parser_error(error: trt.ParserError) -> str:
    node = f"{error.node_operator()} {error.node_name()!r}"
    return (
        f"{error.desc()} [node {error.node()}: {node}; {error.code()}, "
        f"{error.func()} at {error.file()}:{error.line()}]"
    )


def _configured(
    builder: trt.Builder, settings: BuildSettings, timings: bytes
) -> trt.IBuilderConfig:
    import tensorrt as trt

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
    if not (timings and _set_timings(config, timings)):
        _set_timings(config, b"")
    return config


def _set_timings(config: trt.IBuilderConfig, content: bytes) -> bool:
    """Whether TensorRT takes a timing cache: not of another version or device, nor a damaged one.

    Refused content is no cache at all (None, where a C++ factory returns nothing), or one that is
    not set.
    """
    cache: trt.ITimingCache | None = config.create_timing_cache(content)
    return cache is not None and config.set_timing_cache(cache, False)


def _failed(graph: Path, errors: list[str]) -> ConversionError:
    return ConversionError(
        "convert", str(graph), f"TensorRT refuses it: {as_text(errors)}",
        "a graph that TensorRT builds",
        "Report this model with the operator that the message names.",
    )  # fmt: skip
