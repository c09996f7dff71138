"""The backend table: one row a backend.

A backend's module is imported on use, so that asking about one backend never loads another.
`main_file` and `weights_file` are the names in an SDK model folder (MMDeploy's names).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from posedeploy.runtime.types import Availability, Code, DeviceRuntime, PrecisionRuntime, Runtime


@dataclass(frozen=True)
class BackendRow:
    """One backend.

    Attributes:
        name: Backend name as in a deploy config's `backend_config.type`.
        distribution: Name of the package to install.
        min_version: Oldest version that is supported and tested.
        main_file: File that the folder's `deploy.json` names as `net`.
        weights_file: File named as `weights`, '' if there is none.
        devices: Device types it runs on.
        by_position: True if its files know their inputs and outputs by position only.
        bound: (precision, device) for precisions that one device alone computes in.
        install: How to install it where pip cannot; '' where `distribution` is to be installed.
        module: Module in this package that holds its `RUNTIME`; '' where it is called `name`.
    """

    name: str
    distribution: str
    min_version: str
    main_file: str
    weights_file: str
    devices: tuple[str, ...]
    by_position: bool = False
    bound: tuple[tuple[str, str], ...] = ()
    install: str = ""
    module: str = ""

    @property
    def install_step(self) -> str:
        """How to install it, as a sentence."""
        how = self.install or f"run python -m pip install {self.distribution}"
        return f"{how[0].upper()}{how[1:]}."


CPU = ("cpu",)

# ---- modify this table to add a backend ---------------------------------------------------
# fmt: off
BACKENDS: tuple[BackendRow, ...] = (
    BackendRow("coreml",      "coremltools", "8.0",    "end2end.mlpackage", "", CPU),
    BackendRow("ncnn",        "ncnn",        "1.0.20250503", "end2end.param", "end2end.bin", CPU),
    BackendRow("onnxruntime", "onnxruntime", "1.20",   "end2end.onnx",   "", ("cpu", "cuda")),
    BackendRow("openvino",    "openvino",    "2024.4", "end2end.xml",    "end2end.bin", CPU),
    BackendRow("pplnn",       "pyppl",       "0.9",    "end2end.onnx",   "", ("cpu", "cuda"),
               bound=(("fp32", "cpu"), ("fp16", "cuda")),
               install="build it from source as upstream describes: docs/backends/pplnn.md"),
    BackendRow("tensorrt",    "tensorrt",    "10.0",   "end2end.engine", "", ("cuda",),
               module="tensorrt.runtime"),
    BackendRow("torchscript", "torch",       "2.6",    "end2end.pt",     "", CPU, True),
)
# fmt: on
# --------------------------------------------------------------------------------------------


def backend_names() -> tuple[str, ...]:
    """Names of all backends in the table."""
    return tuple(row.name for row in BACKENDS)


def backend_row(name: str) -> BackendRow:
    """The row of a backend.

    Raises:
        KeyError: No such backend; the message lists those there are.
    """
    for row in BACKENDS:
        if row.name == name:
            return row
    raise KeyError(f"no backend {name!r}; there are: {', '.join(backend_names())}")


def device_of(name: str, precision: str, asked: str = "") -> str:
    """Where a backend computes in a precision: what is asked for, unless only one place does.

    Args:
        name: Backend name.
        precision: 'fp32', 'fp16', 'bf16' or 'int8'.
        asked: Device type, its number behind a colon; '' for the backend's first.
    """
    row = backend_row(name)
    return dict(row.bound).get(precision) or asked or row.devices[0]


def probe_on(name: str, device: str, inference_precision: str = "") -> Availability:
    """Whether a backend can run on a device here. Never raises, as `Runtime.probe`.

    Args:
        name: Backend name.
        device: Device type, its number behind a colon.
        inference_precision: What it must compute in, in the backend's own word, where a deploy
            config says so (`backend_config.inference_precision`).
    """
    row, kind = backend_row(name), device.split(":", maxsplit=1)[0]
    if kind not in row.devices:
        there_are = ", ".join(row.devices)
        return Availability(
            Code.NO_DEVICE, f"{name} does not run on {kind} here, but: {there_are}"
        )
    runtime = get_runtime(name)
    if kind != row.devices[0]:
        return cast("DeviceRuntime", runtime).probe_device(kind)
    if inference_precision and hasattr(runtime, "probe_inference_precision"):
        return cast("PrecisionRuntime", runtime).probe_inference_precision(inference_precision)
    return runtime.probe()


def get_runtime(name: str) -> Runtime:
    """The runtime of a backend; importing it loads no native library until `load`."""
    row = backend_row(name)
    module = importlib.import_module(f"{__package__}.{row.module or row.name}")
    return cast("Runtime", module.RUNTIME)
