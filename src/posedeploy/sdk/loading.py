"""Load the graph of an SDK model folder, with errors that a person can act on."""

from __future__ import annotations

from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.runtime import (
    Session,
    SessionOptions,
    backend_names,
    backend_row,
    get_runtime,
    probe_on,
)

from .folder import DEPLOY, SdkModel
from .onnxfile import refuse_external_data


def load_session(model: SdkModel, device: str, threads: int) -> Session:
    """Load the backend's files.

    Args:
        model: The folder.
        device: Device type, with its number behind a colon where that is not 0.
        threads: Threads within one operation; 0 lets the backend choose.

    Raises:
        BadInputError: The backend is unknown, does not run on the device, or refuses the files;
            or a file is missing, leads out of the folder, or names files that do.
        UnavailableError: The backend is not installed, or the device is not here.
    """
    name = model.model.backend
    if name not in backend_names():
        found, expected = repr(name), f"one of {', '.join(backend_names())}"
        next_step = "Convert the model for one of these."
        raise BadInputError(f"{DEPLOY}: $.models[0].backend", found, expected, next_step)
    row, files = backend_row(name), model.backend_files()
    if device.split(":", maxsplit=1)[0] not in row.devices:
        expected = f"one of {', '.join(row.devices)}, which {name} runs on"
        raise BadInputError("device_name", repr(device), expected, "Pass another device_name.")
    if device.split(":", maxsplit=1)[0] in row.devices[1:]:
        available = probe_on(name, device)
        if not available.ok:
            found = f"{available.code}: {available.reason}"
            next_step = f"Use device_name {row.devices[0]!r}."
            raise UnavailableError(f"device_name {device!r}", found, f"one of {name}", next_step)
    if files[0].suffix == ".onnx":
        refuse_external_data(files[0])
    try:
        return get_runtime(name).load(files, device, SessionOptions(model.precision, threads))
    except ImportError as error:
        found, expected = f"no usable {row.distribution} ({error})", f"{name}, to run this folder"
        next_step = f"Run python -m pip install {row.distribution}."
        raise UnavailableError(name, found, expected, next_step) from error
    except RuntimeError as error:
        expected = f"files that {name} can load"
        raise BadInputError(
            files[0].name, str(error), expected, "Convert the model again."
        ) from error
