"""TensorRT for RTX: the typed graph as an engine, built on any machine without a GPU.

The graph is the one that TensorRT is given (`posedeploy.convert.tensorrt`).  It stays in the
folder: no engine can be opened where there is no driver, so the graph is what shows there what the
engine computes, and what an engine of another version can be built from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.convert.tensorrt import build_engine, build_settings, graph_inputs, typed_graph
from posedeploy.convert.types import Converted, Declared
from posedeploy.errors import BadInputError, ConversionError, UnavailableError
from posedeploy.paths import scratch_folder
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import TensorInfo, backend_row
from posedeploy.runtime.tensorrt import BUILD_FILE
from posedeploy.runtime.tensorrt_rtx import CAPABILITIES, RTX

PORTABLE = "the library's own set"
GRAPH_FILE = "end2end.onnx"  # what the engine was built from


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """Build for the deploy config's `backend_config.compute_capabilities`.

    Without them it is the library's own set, which leaves out 7.5.

    Raises:
        BadInputError: A compute capability that the library has no kernels for.
        ConversionError: NVIDIA's parser or builder refuses the graph.
        UnavailableError: The library does not load.
    """
    row = backend_row(RTX.backend)
    capabilities = chosen_capabilities(deploy_config)
    try:
        RTX.load()
    except (ImportError, OSError) as error:
        raise UnavailableError(
            f"backend {RTX.backend}", f"broken-install: {error}", "libraries that load",
            row.install_step,
        ) from error  # fmt: skip
    settings = build_settings(deploy_config, graph_inputs(ir), True, capabilities)
    with scratch_folder(RTX.backend) as scratch:
        graph, recipe = typed_graph(ir, deploy_config, scratch, calibration)
        engine = build_engine(graph, settings, binding=RTX)
        check_declared(graph, engine.declared)
        shutil.copyfile(graph, folder / GRAPH_FILE)
    (folder / row.main_file).write_bytes(engine.plan)
    facts = {  # which cannot be read from the engine itself
        RTX.backend: engine.version,
        "compute_capabilities": ",".join(capabilities) or PORTABLE,
        "precision": settings.precision,
        "tf32": "off",
        "network": "strongly typed",
    }
    (folder / BUILD_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return Converted((row.main_file,), settings.precision, engine.declared, recipe)


def chosen_capabilities(deploy_config: DeployConfig) -> tuple[str, ...]:
    """Those that a deploy config names, as '8.6'; none for the library's own set."""
    backend: Mapping[str, Any] = deploy_config.raw["backend_config"]
    words: Sequence[object] = backend.get("compute_capabilities") or ()
    if unknown := [word for word in words if word not in CAPABILITIES]:
        raise BadInputError(
            f"{deploy_config.path}: backend_config.compute_capabilities", repr(unknown[0]),
            f"some of {list(CAPABILITIES)}", "TensorRT for RTX has kernels for these alone.",
        )  # fmt: skip
    return tuple(dict.fromkeys(map(str, words)))


def check_declared(graph: Path, declared: Declared | None) -> None:
    """ConversionError if the network has other inputs and outputs than the graph it was read from.

    An engine can be opened on a device alone; what NVIDIA's parser made of the graph is what the
    builder has put into it.
    """
    import onnx

    ends = onnx.load(graph, load_external_data=False).graph
    found = declared or Declared((), ())
    pairs = ((ends.input, found.inputs), (ends.output, found.outputs))
    for values, infos in pairs:
        expected = [_info(value) for value in values]
        if list(infos) != expected:
            raise ConversionError(
                "convert", str(graph), f"a network with {_listed(infos)}", _listed(expected),
                "Report this model.",
            )  # fmt: skip


def _info(value: Any) -> TensorInfo:
    """One input or output of an ONNX graph; a size without a number is free."""
    import onnx

    kind = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else ("batch" if axis == 0 else "?")
        for axis, dim in enumerate(kind.shape.dim)
    )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return TensorInfo(value.name, shape, dtype.name)


def _listed(infos: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{info.name} {list(info.shape)} {info.dtype}" for info in infos)
