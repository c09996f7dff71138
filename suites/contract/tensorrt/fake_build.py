"""TensorRT's builder and parser: what they make is an ONNX graph with a line of facts before it.

They refuse what TensorRT refuses: dynamic inputs without a profile, precision flags in a strongly
typed network, zero points other than 0, operators of other domains, a TopK that is too large.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from .fake_common import expect, registered, shape_of, trt

MOST_TOP_K = 3840


class IHostMemory(bytes):
    """The real one has the buffer protocol, as bytes do."""


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> Any:
        return trt().IHostMemory(self._content or b"timings:" + trt().__version__.encode())


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        shapes = [expect(dims, trt().Dims) for dims in (min, opt, max)]
        self._shapes[input] = [[dims[i] for i in range(len(dims))] for dims in shapes]


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {"TF32"}
        self._profiles: list[Any] = []
        self._pools: dict[str, int] = {}
        self._cache = trt().ITimingCache(b"")

    def set_flag(self, flag: Any) -> None:
        self._flags.add(expect(flag, trt().BuilderFlag).name)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(expect(flag, trt().BuilderFlag).name)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[expect(pool, trt().MemoryPoolType).name] = expect(pool_size, int)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(expect(profile, trt().IOptimizationProfile))
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        content = expect(serialized_timing_cache, bytes)
        damaged = content and not content.startswith(b"timings:")
        return None if damaged else trt().ITimingCache(content)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        content = expect(cache, trt().ITimingCache)._content
        fits = not content or content.endswith(trt().__version__.encode())
        if fits or expect(ignore_mismatch, bool):
            self._cache = cache
        return fits

    def get_timing_cache(self) -> Any:
        return self._cache


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        typed = int(trt().NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._strong = bool(flags >> typed & 1)
        self._model: Any = None


class Builder:
    def __init__(self, logger: Any) -> None:
        self._logger = registered(self, logger)

    def create_network(self, flags: int = 0) -> Any:
        return trt().INetworkDefinition(expect(flags, int))

    def create_builder_config(self) -> Any:
        return trt().IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return trt().IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        model = expect(network, trt().INetworkDefinition)._model
        profiles = [profile._shapes for profile in config._profiles]
        wrong = _build_failures(model, network._strong, config._flags, profiles)
        for failure in wrong:
            self._logger.log(trt().ILogger.Severity.ERROR, failure)
        if wrong:
            return None
        head = {"version": trt().__version__, "profiles": profiles, "pools": config._pools,
                "flags": sorted(config._flags), "strong": network._strong}  # fmt: skip
        return trt().IHostMemory(json.dumps(head).encode() + b"\n" + model.SerializeToString())


class ParserError:
    def __init__(self, text: str, node: Any) -> None:
        self._text, self._node = text, node

    def code(self) -> str:
        return "ErrorCode.UNSUPPORTED_NODE"

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return 0

    def node_name(self) -> str:
        return str(self._node.name)

    def node_operator(self) -> str:
        return str(self._node.op_type)

    def file(self) -> str:
        return "onnxOpImporters.cpp"

    def line(self) -> int:
        return 1

    def func(self) -> str:
        return "parseNode"


class OnnxParser:
    def __init__(self, network: Any, logger: Any) -> None:
        self._network = expect(network, trt().INetworkDefinition)
        self._logger = expect(logger, trt().ILogger)
        self._errors: list[Any] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def parse_from_file(self, model: str) -> bool:
        try:
            read = onnx.load_from_string(Path(expect(model, str)).read_bytes())
        except DecodeError:
            self._logger.log(trt().ILogger.Severity.ERROR, "failed to parse the ONNX model")
            return False
        self._errors = [trt().ParserError(*found) for found in parser_failures(read)]
        self._network._model = read
        return not self._errors

    def get_error(self, index: int) -> Any:
        return self._errors[index]


def parser_failures(model: Any) -> list[tuple[str, Any]]:
    """The errors of TensorRT's parser for nodes of a graph."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = []
    for node in model.graph.node:
        extra = values.get(node.input[-1]) if node.input else None
        if node.domain not in {"", "ai.onnx"}:
            found.append((f"no importer registered for op: {node.op_type}", node))
        elif node.op_type in {"QuantizeLinear", "DequantizeLinear"} and np.any(extra):
            found.append(("only symmetric quantization is supported", node))
        elif node.op_type == "TopK" and extra is not None and extra.max() > MOST_TOP_K:
            found.append((f"K = {extra.max()} exceeds the maximum value {MOST_TOP_K}", node))
    return found


def _build_failures(model: Any, strong: bool, flags: set[str], profiles: list[Any]) -> list[str]:
    """Why TensorRT would not build a network."""
    found = []
    if strong and flags - {"TF32"}:
        found.append("precision flags are not allowed in a strongly typed network")
    for value in model.graph.input:
        shape = shape_of(value)
        given = profiles[0].get(value.name) if profiles else None
        if -1 in shape and given is None:
            found.append(f"{value.name} is dynamic, but no optimization profile has been defined")
        found += [
            f"profile of {value.name}: {sizes} does not fit {shape}"
            for sizes in given or ()
            if any(dim not in {-1, size} for dim, size in zip(shape, sizes, strict=True))
        ]
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    if quantized and not strong and "INT8" not in flags:
        found.append("Q/DQ layers need the flag INT8 in a network that is not strongly typed")
    return found


CLASSES = (
    IHostMemory, ITimingCache, IOptimizationProfile, IBuilderConfig, INetworkDefinition, Builder,
    ParserError, OnnxParser,
)  # fmt: skip
