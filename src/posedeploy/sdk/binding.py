"""The graph of an SDK model folder: load it, and match it with `pipeline.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.heads import stage_of_component
from posedeploy.runtime import (
    BackendSpec,
    Code,
    Device,
    PrecisionError,
    RefusedError,
    Runtime,
    Session,
    SessionOptions,
    TensorInfo,
    backend_names,
    backend_row,
    get_runtime,
    limits,
    torchscript_program,
)
from posedeploy.runtime.types import DeviceRuntime
from posedeploy.sdk.decode import MISMATCH, Decoder, compile_decoder
from posedeploy.sdk.decode.boxes import compile_box_decoder
from posedeploy.sdk.decode.selected import selected
from posedeploy.sdk.fields import Node
from posedeploy.sdk.folder import DEPLOY, DETECTION, PIPELINE, SdkModel
from posedeploy.sdk.onnxfile import refuse_external_data, refuse_other_than_xml
from posedeploy.sdk.transforms import Preprocessor

NET = "$.pipeline.tasks[?(@.module=='Net')]"


@dataclass(frozen=True)
class Binding:
    """How to call a session."""

    input: str  # name of its one input
    outputs: Mapping[str, str]  # name in the pipeline -> name in the graph
    batch: int  # images a call must hold; 0 if the batch is dynamic


def resolve(name: str, mapping: Mapping[str, str], tensors: Sequence[str]) -> str | None:
    """The graph's name for a pipeline name like 'simcc_x', None if the graph has no such tensor.

    In `mapping` (`input_map` or `output_map`) '#i' stands for a position among the tensors.
    """
    target = mapping.get(name, name)
    if target.startswith("#") and target[1:].isascii() and target[1:].isdigit():
        index = int(target[1:6])
        return tensors[index] if index < len(tensors) else None
    return target if target in tensors else None


def bind_input(
    model: SdkModel, inputs: Sequence[TensorInfo], input_size: tuple[int, int]
) -> TensorInfo:
    """The graph's input for the image; a graph with one input needs no map.

    A runtime that cannot tell a shape gives (); `input_size` is what the transforms make.  A
    BadInputError says which name or shape does not fit.
    """
    names = [info.name for info in inputs]
    mapping = model.input_map if "img" in model.input_map else {"img": "#0"}
    if resolve("img", mapping, names) is None or len(names) != 1:
        raise BadInputError(
            f"{PIPELINE}: {NET}.input_map", str(dict(model.input_map)),
            f"'img' mapped to the one input of the graph, which has {', '.join(names) or 'none'}",
            MISMATCH,
        )  # fmt: skip
    info, (width, height) = inputs[0], input_size
    wanted = (height, width, 3) if model.channels_last else (3, height, width)
    pairs = zip(info.shape[1:], wanted, strict=False)
    wrong = len(info.shape) != 4 or any(isinstance(a, int) and a != b for a, b in pairs)
    if info.shape and wrong:
        nhwc = ", which is NHWC" if info.shape[1:] == (height, width, 3) else ""
        raise BadInputError(
            model.model.net, f"input {info.name!r} of shape {list(info.shape)}{nhwc}",
            f"[N, {', '.join(map(str, wanted))}], as the transforms make it", MISMATCH,
        )  # fmt: skip
    return info


def bind_outputs(model: SdkModel, names: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Names of the outputs in the pipeline -> in the graph; a BadInputError if it lacks one."""
    resolved = {name: resolve(name, model.output_map, names) for name in wanted}
    bound = {name: target for name, target in resolved.items() if target is not None}
    missing = ", ".join(name for name in wanted if name not in bound)
    if missing:
        raise BadInputError(
            f"{PIPELINE}: {NET}.output_map", f"no {missing} in {', '.join(names)}",
            f"{', '.join(wanted)}, for {model.component}", MISMATCH,
        )  # fmt: skip
    return bound


def check_sizes(net: str, tensors: Sequence[TensorInfo]) -> None:
    """Refuse a graph that declares what no machine should allocate, with a BadInputError."""
    if found := limits.beyond_limits(tensors):
        next_step = "Convert the model with a smaller batch, or with a dynamic one."
        raise BadInputError(net, found, limits.EXPECTED, next_step)


def batch_of(binding: Binding, asked: int, input_size: tuple[int, int]) -> int:
    """Regions in one call: the graph's own batch, or else as many as were asked for and fit."""
    width, height = input_size
    return binding.batch or min(asked, limits.MAX_CALL_BYTES // (4 * 3 * width * height))


def bind(
    model: SdkModel, session: Session, wanted: Sequence[str], input_size: tuple[int, int]
) -> Binding:
    """Match a folder's pipeline with the graph that was loaded."""
    check_sizes(model.model.net, [*session.inputs, *session.outputs])
    info = bind_input(model, session.inputs, input_size)
    first = info.shape[0] if info.shape else int(not model.model.dynamic_shape)
    batch = first if isinstance(first, int) else 0
    names = [output.name for output in session.outputs]
    return Binding(info.name, bind_outputs(model, names, wanted), batch)


def decoder_of(model: SdkModel, preprocessor: Preprocessor) -> Decoder:
    """The decoder of a folder's component, for the transforms of the folder.

    A BadInputError is that of `compile_decoder`, or says that only one of the two is top-down.
    """
    size = preprocessor.input_size
    if model.module == DETECTION.module:
        return compile_box_decoder(model.component, model.params, size)
    decoder = compile_decoder(model.component, model.params, size, model.folder)
    head, _ = stage_of_component(model.component, model.params.value)
    if head.top_down != preprocessor.top_down:
        kind = "top-down" if preprocessor.top_down else "bottom-up"
        component = Node(model.component, PIPELINE, model.component_path)
        raise component.error(f"one for the {kind} transforms")
    # MMPose selects keypoints of top-down models only
    return selected(decoder, model.params) if preprocessor.top_down else decoder


def _check_device(row: BackendSpec, runtime: Runtime, device: Device) -> None:
    """The errors of `load_session` about the device."""
    if device.kind not in row.devices:
        expected = f"one of {', '.join(row.devices)}, which {row.name} runs on"
        raise BadInputError("device", repr(str(device)), expected, f"Use {row.devices[0]}.")
    if device.kind in row.devices[1:]:
        available = cast("DeviceRuntime", runtime).probe_device(device.kind)
        if not available.ok:
            raise UnavailableError(
                f"device {str(device)!r}", f"{available.code}: {available.reason}",
                f"a device on which {row.name} runs here", f"Use {row.devices[0]}.",
            )  # fmt: skip


def check_kind(model: SdkModel, path: Path) -> None:
    """Refuse a main file of another kind than the backend's, with a BadInputError.

    A backend may read more kinds than its own, whatever the file is called: OpenVINO reads ONNX
    from an '.xml', and with it the files that the graph names.
    """
    suffix = Path(backend_row(model.model.backend).main_file).suffix
    if Path(model.model.net).suffix != suffix:
        raise BadInputError(
            f"{DEPLOY}: $.models[0].net", repr(model.model.net), f"a {suffix} file",
            "Convert the model again.",
        )  # fmt: skip
    if suffix == ".xml":
        refuse_other_than_xml(path)


def load_session(
    model: SdkModel, device: Device, threads: int, runtime: Runtime | None = None
) -> Session:
    """Load the backend's files; `threads` 0 and `runtime` None leave the choice to the backend.

    Raises:
        BadInputError: The backend is unknown, does not run on the device, or refuses the files;
            or a file is missing, leads out of the folder, or names files that do.
        UnavailableError: The backend cannot run here, or the device is not here.
    """
    name = model.model.backend
    if name not in backend_names():
        subject = f"{DEPLOY}: $.models[0].backend"
        expected = f"one of {', '.join(backend_names())}"
        raise BadInputError(subject, repr(name), expected, "Convert the model for one of these.")
    row, files = backend_row(name), model.backend_files()
    runtime = runtime or get_runtime(name)
    _check_device(row, runtime, device)
    check_kind(model, files[0])
    if Path(row.main_file).suffix == ".onnx":
        refuse_external_data(files[0])
    try:
        return runtime.load(files, str(device), SessionOptions(model.precision, threads))
    except ImportError as error:
        found, expected = f"no usable {row.distribution} ({error})", f"{name}, to run this folder"
        raise UnavailableError(f"backend {name}", found, expected, row.install_step) from error
    except PrecisionError as error:
        raise UnavailableError(
            f"backend {name}", str(error), "a machine that computes in the folder's precision",
            "Run it on such a machine, or convert with another deploy config.",
        ) from error  # fmt: skip
    except RefusedError as error:
        expected, next_step = torchscript_program.EXPECTED, torchscript_program.NEXT_STEP
        raise BadInputError(files[0].name, str(error), expected, next_step) from error
    except RuntimeError as error:
        available = runtime.probe()
        if not available.ok:  # then it is not the files that are to blame
            absent = available.code is Code.NOT_INSTALLED
            raise UnavailableError(
                f"backend {name}", f"{available.code}: {available.reason}",
                f"{name}, to run this folder",
                row.install_step if absent else "Run it where `posedeploy backends` shows it.",
            ) from error  # fmt: skip
        expected, next_step = f"files that {name} can load", "Convert the model again."
        raise BadInputError(files[0].name, str(error), expected, next_step) from error
