"""ncnn on the CPU.

A `.param` file names no batch and no output shapes: the batch is always 1, and the shapes of the
outputs are read from a run on zeros.  fp16 and bf16 are on by default where the CPU supports them,
so every such switch is set.  Which layers are int8 is stored in the file; a quantized file is
refused in any other precision, for with the switch off ncnn computes wrong values from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, Host
from posedeploy.runtime.limits import refuse_beyond_limits
from posedeploy.runtime.registry import accepted_device, backend_row
from posedeploy.runtime.types import (
    Arrays,
    Availability,
    Code,
    PrecisionError,
    SessionOptions,
    TensorInfo,
)

# SessionOptions.precision -> the switches of ncnn.Option that are on; all others are off. fp16 is
# storage: sums stay float32.
_SWITCHES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed",
             "use_bf16_storage", "use_int8_inference")  # fmt: skip
PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "bf16": ("use_bf16_packed", "use_bf16_storage"),
    "fp16": ("use_fp16_packed", "use_fp16_storage"),
    "fp32": (),
    "int8": ("use_int8_inference",),
}
# Layer types in whose parameters number 8 says that int8 scales follow the weights
_INT8_LAYERS = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
UNLISTED = "this CPU may emulate bf16: the system does not list its features in /proc/cpuinfo"
# Option of a session: 'yes' stores every blob of a run, so that each can be extracted
KEEP_BLOBS = "keep_blobs"


class NcnnSession:
    """An `ncnn.Net` behind the `Session` protocol.

    A loaded net is read alone and its pool of memory is locked; what a run computes is held by its
    extractor, and each run has one of its own.
    """

    def __init__(
        self, net: Any, inputs: tuple[TensorInfo, ...], effective_options: Mapping[str, str]
    ) -> None:
        self._net = net
        self.effective_options = dict(effective_options)
        self.inputs = inputs
        self.outputs = tuple(TensorInfo(name, (), "float32") for name in net.output_names())
        if all(info.shape for info in inputs):
            sizes = {i.name: [d for d in i.shape if isinstance(d, int)] for i in inputs}
            blank = self.run({name: np.zeros(size, np.float32) for name, size in sizes.items()})
            self.outputs = tuple(
                TensorInfo(name, array.shape, array.dtype.name) for name, array in blank.items()
            )

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        return self.extract(feed, [info.name for info in self.outputs])

    def extract(self, feed: Arrays, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Blob name -> [1, ...] float32; RuntimeError for a blob that ncnn cannot compute."""
        import ncnn

        extractor = self._net.create_extractor()
        for name, array in feed.items():
            if len(array) != 1:
                raise RuntimeError(f"ncnn runs one image at a time; {name} holds {len(array)}")
            # a Mat of an array shares its memory and holds no reference to it
            mat = ncnn.Mat(np.ascontiguousarray(array[0], np.float32)).clone()
            _must_be_zero(extractor.input(name, mat), f"input {name!r}")
        results = {}
        for name in names:
            status, mat = extractor.extract(name)
            _must_be_zero(status, f"output {name!r}")
            results[name] = np.array(mat, np.float32)[None]
        return results


def _must_be_zero(status: int, what: str) -> None:
    if status != 0:
        raise RuntimeError(f"ncnn refused {what} (status {status})")


@dataclass(frozen=True)
class Ncnn:
    """The `Runtime` of ncnn."""

    host: Host = HOST

    def probe(self) -> Availability:
        oldest = backend_row("ncnn").min_version
        return self.host.probe_import("ncnn", ("ncnn",), oldest, "ncnn.Net()")

    def probe_inference_precision(self, word: str) -> Availability:
        availability, reason = self.probe(), self._emulates(word)
        if not availability.ok or not reason:
            return availability
        return Availability(Code.NO_DEVICE, reason, availability.version)

    def _emulates(self, word: str) -> str:
        """Why ncnn, which computes in every precision on every CPU, would emulate it."""
        lacking = self.host.lacks_bf16() if word == "bf16" else ""
        return UNLISTED if lacking is None else lacking

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> NcnnSession:
        import ncnn

        accepted_device("ncnn", device, options.precision, PRECISIONS)
        if reason := self._emulates(options.precision):
            raise PrecisionError(reason)
        if options.precision != "int8" and is_quantized(files[0]):
            raise RuntimeError(f"ncnn: {files[0].name} is quantized; precision must be 'int8'")
        inputs = read_inputs(files[0])
        refuse_beyond_limits("ncnn", inputs)  # a session runs on zeros of them
        net = ncnn.Net()
        net.opt.use_vulkan_compute = False
        net.opt.lightmode = options.extra.get(KEEP_BLOBS) != "yes"
        if options.threads:
            net.opt.num_threads = options.threads
        for switch in _SWITCHES:
            setattr(net.opt, switch, switch in PRECISIONS[options.precision])
        for path, load in zip(files, (net.load_param, net.load_model), strict=False):
            if status := load(str(path)):
                reason = what_is_wrong(files[0])
                raise RuntimeError(f"ncnn could not load {path.name} (status {status}): {reason}")
        return NcnnSession(net, inputs, _effective(net))


def _effective(net: Any) -> dict[str, str]:
    on = {name for name in _SWITCHES if getattr(net.opt, name)}
    precision = next((p for p, names in PRECISIONS.items() if on == set(names)), "mixed")
    return {
        "inference_precision": precision,
        "num_threads": str(net.opt.num_threads),
        "winograd": str(bool(net.opt.use_winograd_convolution)).lower(),
    }


def read_inputs(param: Path) -> tuple[TensorInfo, ...]:
    """Inputs of a `.param` file; a shape is () unless its Input layer has the sizes.

    Parameters 0, 1 and 2 of an Input layer are width, height and channels (ncnn's file format,
    docs/developer-guide/operators.md).
    """
    infos = []
    for words in _layers(param):
        if words[0] == "Input" and len(words) > 4:
            name, parameters = words[4], words[5:]
            sizes = dict(word.split("=", 1) for word in parameters if "=" in word)
            whole = all(re.fullmatch(r"[0-9]+", sizes.get(key, "")) for key in "012")
            # of more than 9 digits: too large in any case, and too long for `int`
            shape = (1, *(int(sizes[key][:10]) for key in "210")) if whole else ()
            infos.append(TensorInfo(name, shape, "float32"))
    return tuple(infos)


def is_quantized(param: Path) -> bool:
    """True if a layer of a `.param` file has scales for int8 (parameter 8 of its type)."""
    return any(
        words[0] in _INT8_LAYERS and any(p.startswith("8=") and p != "8=0" for p in words[4:])
        for words in _layers(param)
    )


def _layers(param: Path) -> list[list[str]]:
    """The words of each layer's line, below the file's two lines of header."""
    lines = param.read_text(encoding="utf-8", errors="replace").splitlines()[2:]
    return [line.split() for line in lines if line.strip()]


def what_is_wrong(param: Path) -> str:
    """Why ncnn refuses a file, as far as its text shows: it writes the reason to stderr alone."""
    if param.read_bytes().split(b"\n", 1)[0].strip() != b"7767517":
        return "it is no .param file (the first line is not 7767517)"
    foreign = sorted({words[0] for words in _layers(param) if foreign_type(words[0])})
    return f"layers that ncnn lacks: {', '.join(foreign)}" if foreign else "a damaged file"


def foreign_type(layer_type: str) -> bool:
    """True for names that pnnx writes where ncnn has no layer: `Tensor.slice`, `aten::topk`."""
    return "." in layer_type or "::" in layer_type


RUNTIME = Ncnn()
