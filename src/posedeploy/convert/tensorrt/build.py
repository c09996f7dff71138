"""ONNX file to TensorRT engine: parse, configure, build.

No GPU is needed to check this module against the real API: `suites/contract/tensorrt` does.  A
call of TensorRT that fails returns False or None, and logs the reason, which goes into the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posedeploy.convert.tensorrt.settings import BuildSettings, Profile
from posedeploy.errors import ConversionError
from posedeploy.runtime.tensorrt import as_text, collecting_logger

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class Engine:
    """The result of a build.

    Attributes:
        plan: The serialized engine.
        timing_cache: Timings of this build and those it was given, for the next one.
        version: The TensorRT version that built it.
    """

    plan: bytes
    timing_cache: bytes
    version: str


def builder_facts() -> tuple[str, tuple[str, ...]]:
    """Version of the TensorRT that is installed, and the names of its builder flags."""
    import tensorrt as trt

    return str(trt.__version__), tuple(trt.BuilderFlag.__members__)


def build_engine(graph: Path, settings: BuildSettings, timings: bytes = b"") -> Engine:
    """Build an engine for the current device.

    Args:
        graph: ONNX file. Where the network is strongly typed its types decide.
        settings: From `build_settings`.
        timings: A timing cache from an earlier build, or nothing.

    Raises:
        ConversionError: The parser or the builder refuses; with everything they logged.
    """
    import tensorrt as trt

    logger, errors = collecting_logger()
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what a factory that returned nothing becomes in Python
        raise _failed(graph, [str(error), *errors]) from error
    network = builder.create_network(_network_flags(settings))
    parse(graph, network, logger, errors)
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


def parse(
    graph: Path, network: trt.INetworkDefinition, logger: trt.ILogger, errors: list[str]
) -> None:
    """Read an ONNX file into a network.

    Raises:
        ConversionError: With every error of the parser, in full.
    """
    import tensorrt as trt

    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(graph)):
        return
    found = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    raise _failed(graph, found or errors)


def _parser_error(error: trt.ParserError) -> str:
    node = f"{error.node_operator()} {error.node_name()!r}"
    return (
        f"{error.desc()} [node {error.node()}: {node}; {error.code()}, "
        f"{error.func()} at {error.file()}:{error.line()}]"
    )


def _network_flags(settings: BuildSettings) -> int:
    import tensorrt as trt

    if not settings.strongly_typed:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


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
        _add_profile(builder, config, settings)
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


def _add_profile(
    builder: trt.Builder, config: trt.IBuilderConfig, settings: BuildSettings
) -> None:
    profile = builder.create_optimization_profile()
    for name, shapes in settings.profiles.items():
        profile.set_shape(name, *_dims(shapes))
    config.add_optimization_profile(profile)


def _dims(shapes: Profile) -> tuple[trt.Dims, trt.Dims, trt.Dims]:
    import tensorrt as trt

    return (
        trt.Dims(list(shapes.min)), trt.Dims(list(shapes.opt)), trt.Dims(list(shapes.max))
    )  # fmt: skip


def _failed(graph: Path, errors: list[str]) -> ConversionError:
    return ConversionError(
        "convert",
        str(graph),
        f"TensorRT refuses it: {as_text(errors)}",
        "a graph that TensorRT builds",
        "Report this model with the operator that the message names.",
    )
