"""TensorRT's builder and parser: what they make is an ONNX graph with a line of facts before it.

They refuse nothing: what NVIDIA's parser and builder refuse, and in which words, is tested on the
real ones of TensorRT for RTX, which need no device (`suites/contract/tensorrt_rtx`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx

from .fake_common import expect, registered, trt


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
        head = {"version": trt().__version__, "profiles": profiles, "pools": config._pools,
                "flags": sorted(config._flags), "strong": network._strong}  # fmt: skip
        return trt().IHostMemory(json.dumps(head).encode() + b"\n" + model.SerializeToString())


class OnnxParser:
    def __init__(self, network: Any, logger: Any) -> None:
        self._network = expect(network, trt().INetworkDefinition)
        expect(logger, trt().ILogger)

    def parse_from_file(self, model: str) -> bool:
        self._network._model = onnx.load_from_string(Path(expect(model, str)).read_bytes())
        return True


CLASSES = (
    IHostMemory, ITimingCache, IOptimizationProfile, IBuilderConfig, INetworkDefinition, Builder,
    OnnxParser,
)  # fmt: skip
