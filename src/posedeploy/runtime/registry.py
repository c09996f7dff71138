"""The backend table: one row a backend. Everything that differs between backends derives from it.

A backend's modules are imported on use: one backend never loads another.  What all of them do with
their arguments is here too.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.types import (
    Arrays,
    Availability,
    Code,
    ComputePrecision,
    Device,
    DeviceRuntime,
    FlowPrecision,
    PrecisionRuntime,
    Runtime,
    StoredPrecision,
    TensorInfo,
)


@dataclass(frozen=True)
class BackendSpec:
    """One backend.

    Attributes:
        name: As in a deploy config's `backend_config.type`; `display` is for people.
        rank: Its place in reports: upstream's support table first, then ours.
        distributions: Packages that change what it converts or computes; pip installs the first.
        min_version: Oldest version that is supported and tested.
        main_file: File that the folder's `deploy.json` names as `net` (MMDeploy's names).
        weights_file: File named as `weights`, '' if there is none.
        devices: Device types it runs on, the default first.
        precisions: Precisions that it has a recipe for.
        form: What it is converted from: 'onnx', through one of the exporters; 'torchscript', a
            traced module with its signature; 'ncnn', the same with what ncnn lacks rewritten; or
            'exported-program', of `torch.export`.
        stages: Stages where a detector's graph may end, the preferred one first; none where the
            backend holds non-maximum suppression.
        lacks: Stages that its files cannot hold, each with the reason.
        norm: How ScaleNorm is exported, a row of `export.norms.NORMS`: 'divided' where float16 is
            computed in, for sums may be accumulated in it; 'plain' where float32 alone is.
        dynamic_batch: True if its files can take any batch.
        by_position: True if its files know their inputs and outputs by position only.
        bound: (precision, device) for precisions that one device alone computes in.
        tools: Packages or programs that converting needs and running does not.
        converts_without: Reasons for not running that do not matter for converting.
        install: How to install it where pip cannot.
        own_precision: Code that prints what it computes float32 graphs in if nothing is set, in a
            child process; '' where that cannot be read.
        runtime: Module with `RUNTIME`, a `Runtime`; `converter` is the one with `convert`.
        target: Module whose `target` returns what the files are tied to; '' if they run anywhere.
        measure: Function that measures the quantized layers of its files; '' for none.
        evaluator: The judge's module with a `load`, for where it cannot run; '' for none.
        preload: What takes long to import and starts no thread: a process that has imported it
            can be forked.
    """

    name: str
    display: str
    rank: int
    distributions: tuple[str, ...]
    min_version: str
    main_file: str
    weights_file: str
    devices: tuple[str, ...]
    precisions: tuple[FlowPrecision, ...]
    form: str
    stages: tuple[str, ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()
    norm: str = "divided"
    dynamic_batch: bool = True
    by_position: bool = False
    bound: tuple[tuple[FlowPrecision, str], ...] = ()
    tools: tuple[str, ...] = ()
    converts_without: frozenset[Code] = frozenset()
    install: str = ""
    own_precision: str = ""
    runtime: str = ""
    converter: str = ""
    target: str = ""
    measure: str = ""
    evaluator: str = ""
    preload: tuple[str, ...] = ()

    @property
    def distribution(self) -> str:
        """What pip installs."""
        return self.distributions[0]

    @property
    def install_step(self) -> str:
        """How to install it, as a sentence."""
        how = self.install or f"run python -m pip install {self.distribution}"
        return f"{how[0].upper()}{how[1:]}."


CPU, CUDA = "cpu", "cuda"
FP32, FP16, INT8 = StoredPrecision.FP32, StoredPrecision.FP16, StoredPrecision.INT8
BF16 = ComputePrecision.BF16

# ---- modify this table to add a backend ---------------------------------------------------
BACKENDS: tuple[BackendSpec, ...] = (
    BackendSpec(
        "coreml", "CoreML", 6, ("coremltools",), "8.0", "end2end.mlpackage", "", (CPU,),
        (FP32, FP16), "exported-program", ("dense",), dynamic_batch=False,
        converts_without=frozenset({Code.WRONG_OS}),
        runtime="posedeploy.runtime.coreml", converter="posedeploy.convert.coreml",
        evaluator="poseconform.evaluators.mil.session",
    ),
    BackendSpec(
        "litert", "LiteRT", 9, ("ai-edge-litert", "litert-torch", "ai-edge-quantizer"), "2.3",
        "end2end.tflite", "", (CPU,), (FP32, FP16, INT8), "exported-program", ("dense",),
        dynamic_batch=False,
        tools=("litert_torch", "ai_edge_quantizer"),
        install="run python -m pip install 'posedeploy[litert]'",
        own_precision="print('fp32')",
        runtime="posedeploy.runtime.litert", converter="posedeploy.convert.litert",
        measure="posedeploy.runtime.quantized.litert:measure",
    ),
    BackendSpec(
        # 'raw', as on ncnn: phones decode on the host
        "mnn", "MNN", 10, ("mnn",), "3.6.1", "end2end.mnn", "", (CPU,), (FP32, FP16, INT8), "onnx",
        ("raw", "dense"),
        dynamic_batch=False,  # its files are converted for one image; a session takes any batch
        tools=("onnxruntime",),
        runtime="posedeploy.runtime.mnn", converter="posedeploy.convert.mnn",
        measure="posedeploy.runtime.quantized.mnn_file:measure",
    ),
    BackendSpec(
        "ncnn", "ncnn", 3, ("ncnn", "pnnx"), "1.0.20250503", "end2end.param", "end2end.bin",
        # 'raw': decoding every candidate of RTMO in ncnn takes 6 to 10 s an image
        (CPU,), (FP32, FP16, BF16, INT8), "ncnn", ("raw", "dense"),
        (("keypoints", "ncnn has no layer that finds the place of a maximum"),),
        dynamic_batch=False,
        tools=("pnnx",),
        own_precision="import ncnn; o = ncnn.Option(); "
        "print('fp16 if the CPU can' if o.use_fp16_arithmetic else 'fp32')",
        runtime="posedeploy.runtime.ncnn", converter="posedeploy.convert.ncnn",
        measure="posedeploy.runtime.quantized.ncnn_param:measure",
    ),
    BackendSpec(
        "onnxruntime", "ONNX Runtime", 1, ("onnxruntime", "onnxruntime-gpu"), "1.20",
        "end2end.onnx", "", (CPU, CUDA), (FP32, FP16, INT8), "onnx",
        own_precision="print('fp32')",
        runtime="posedeploy.runtime.onnxruntime", converter="posedeploy.convert.onnxruntime",
        measure="posedeploy.runtime.quantized.onnx_qdq:measure",
    ),
    BackendSpec(
        "openvino", "OpenVINO", 5, ("openvino", "nncf"), "2024.4", "end2end.xml", "end2end.bin",
        (CPU,), (FP32, FP16, BF16, INT8), "onnx",
        own_precision="import openvino as ov; "  # it differs from CPU to CPU
        "print({'f32': 'fp32', 'f16': 'fp16'}.get(p := ov.Core().get_property('CPU', "
        "'INFERENCE_PRECISION_HINT').get_type_name(), p))",
        runtime="posedeploy.runtime.openvino", converter="posedeploy.convert.openvino",
        measure="posedeploy.runtime.quantized.openvino_ir:measure",
    ),
    BackendSpec(
        "pplnn", "PPLNN", 4, ("pyppl",), "0.9", "end2end.onnx", "", (CPU, CUDA), (FP32, FP16),
        "onnx", ("raw", "dense"), dynamic_batch=False, bound=((FP32, CPU), (FP16, CUDA)),
        converts_without=frozenset(  # it is converted with onnx alone
            {
                Code.NOT_INSTALLED, Code.BROKEN_INSTALL, Code.PROBE_TIMEOUT, Code.VERSION_TOO_OLD,
                Code.NO_DEVICE,
            }
        ),
        install="build it from source as upstream describes: docs/backends/pplnn.md",
        runtime="posedeploy.runtime.pplnn", converter="posedeploy.convert.pplnn",
        evaluator="poseconform.evaluators.onnx",
    ),
    BackendSpec(
        "tensorrt", "TensorRT", 2, ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "polygraphy"),
        "10.0", "end2end.engine", "", (CUDA,), (FP32, FP16, INT8), "onnx", ("dense",),
        runtime="posedeploy.runtime.tensorrt",
        converter="posedeploy.convert.tensorrt",
        target="posedeploy.runtime.tensorrt",
    ),
    BackendSpec(
        "tensorrt-rtx", "TensorRT for RTX", 8,
        (
            "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu12-bindings",
            "tensorrt-rtx-cu12-libs", "polygraphy",
        ),
        "1.7", "end2end.engine", "", (CUDA,), (FP32, FP16, INT8), "onnx", ("dense",),
        (("nms", "TensorRT for RTX has nothing that runs NonMaxSuppression"),),
        converts_without=frozenset({Code.NO_DRIVER, Code.NO_DEVICE}),  # its builder needs no GPU
        install="run python -m pip install 'posedeploy[tensorrt-rtx]'",
        runtime="posedeploy.runtime.tensorrt_rtx",
        converter="posedeploy.convert.tensorrt_rtx",
        measure="posedeploy.runtime.quantized.onnx_qdq:measure_beside",
        evaluator="poseconform.evaluators.typed_graph",
    ),
    BackendSpec(
        "torchscript", "TorchScript", 7, ("torch",), "2.6", "end2end.pt", "", (CPU,), (FP32,),
        "torchscript", norm="plain", by_position=True,
        own_precision="import torch; p = torch.get_float32_matmul_precision(); "
        "print('fp32' if p == 'highest' else f'fp32, products in {p} precision')",
        runtime="posedeploy.runtime.torchscript", converter="posedeploy.convert.torchscript",
        preload=("torch",),
    ),
)  # fmt: skip
# --------------------------------------------------------------------------------------------


def backend_names() -> tuple[str, ...]:
    """Names of all backends in the table."""
    return tuple(row.name for row in BACKENDS)


def backends_by_rank() -> tuple[BackendSpec, ...]:
    """All rows in the order in which reports show them."""
    return tuple(sorted(BACKENDS, key=lambda row: row.rank))


def backend_distributions() -> tuple[str, ...]:
    """Every package that changes what some backend converts or computes."""
    return tuple(dict.fromkeys(name for row in BACKENDS for name in row.distributions))


def model_suffixes() -> frozenset[str]:
    """Suffixes of the files that a backend loads: '.onnx', '.tflite'."""
    return frozenset(PurePath(row.main_file).suffix for row in BACKENDS)


def backend_row(name: str) -> BackendSpec:
    """The row of a backend; KeyError, with the names that there are, if there is none."""
    for row in BACKENDS:
        if row.name == name:
            return row
    raise KeyError(f"no backend {name!r}; there are: {', '.join(backend_names())}")


def device_of(name: str, precision: str, asked: str = "") -> str:
    """The device that a backend computes a stored precision on: as asked, unless only one can.

    Devices are 'cpu', 'cuda' or 'cuda:1'; '' stands for the backend's first.
    """
    row = backend_row(name)
    return dict[str, str](row.bound).get(precision) or asked or row.devices[0]


def probe_on(name: str, device: str, inference_precision: str = "") -> Availability:
    """Whether a backend can run on a device here. Never raises, as `Runtime.probe`.

    `inference_precision` is what it must compute in, in the backend's own word, where a deploy
    config sets it (`backend_config.inference_precision`).
    """
    row, kind = backend_row(name), Device.parse(device).kind
    if kind not in row.devices:
        reason = f"{name} does not run on {kind} here, but: {', '.join(row.devices)}"
        return Availability(Code.NO_DEVICE, reason)
    runtime = get_runtime(name)
    if kind != row.devices[0]:
        return cast("DeviceRuntime", runtime).probe_device(kind)
    if inference_precision and hasattr(runtime, "probe_inference_precision"):
        return cast("PrecisionRuntime", runtime).probe_inference_precision(inference_precision)
    return runtime.probe()


def accepted_device(
    name: str, device: str, precision: str = "", precisions: Collection[str] = ()
) -> Device:
    """The device to load on; RuntimeError if it or the precision is not supported."""
    parsed, devices = Device.parse(device), backend_row(name).devices
    if parsed.kind not in devices:
        raise RuntimeError(f"{name}: device {device!r} is not one of {list(devices)}")
    if precisions and precision not in precisions:
        raise RuntimeError(
            f"{name}: precision {str(precision)!r} is not one of {list(precisions)}"
        )
    return parsed


def as_declared(feed: Arrays, inputs: Sequence[TensorInfo]) -> dict[str, NDArray[Any]]:
    """Arrays by input name, contiguous and of the types that a file declares."""
    dtypes = {info.name: info.dtype for info in inputs}
    return {name: np.ascontiguousarray(array, dtypes[name]) for name, array in feed.items()}


def get_runtime(name: str) -> Runtime:
    """The runtime of a backend; importing it loads no native library until `load`."""
    return cast("Runtime", importlib.import_module(backend_row(name).runtime).RUNTIME)
