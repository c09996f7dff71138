"""Load the graph of an SDK model folder, with errors that a person can act on."""

from __future__ import annotations

from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.runtime import (
    Code,
    Device,
    PrecisionError,
    Session,
    SessionOptions,
    backend_names,
    backend_row,
    get_runtime,
    probe_on,
)
from posedeploy.sdk.folder import DEPLOY, SdkModel
from posedeploy.sdk.onnxfile import refuse_external_data


def load_session(model: SdkModel, device: Device, threads: int) -> Session:
    """Load the backend's files.

    Args:
        model: The folder.
        device: Where to run it.
        threads: Threads within one operation; 0 lets the backend choose.

    Raises:
        BadInputError: The backend is unknown, does not run on the device, or refuses the files;
            or a file is missing, leads out of the folder, or names files that do.
        UnavailableError: The backend cannot run here, or the device is not here.
    """
    name = model.model.backend
    if name not in backend_names():
        found, expected = repr(name), f"one of {', '.join(backend_names())}"
        next_step = "Convert the model for one of these."
        raise BadInputError(f"{DEPLOY}: $.models[0].backend", found, expected, next_step)
    row, files = backend_row(name), model.backend_files()
    if device.kind not in row.devices:
        expected = f"one of {', '.join(row.devices)}, which {name} runs on"
        raise BadInputError("device", repr(str(device)), expected, f"Use {row.devices[0]}.")
    if device.kind in row.devices[1:]:
        available = probe_on(name, str(device))
        if not available.ok:
            found = f"{available.code}: {available.reason}"
            expected = f"a device on which {name} runs here"
            raise UnavailableError(f"device {str(device)!r}", found, expected, f"Use {row.devices[0]}.")
    if files[0].suffix == ".onnx":
        refuse_external_data(files[0])
    try:
        return get_runtime(name).load(
            files, str(device), SessionOptions(model.precision, threads)
        )
    except ImportError as error:
        found, expected = f"no usable {row.distribution} ({error})", f"{name}, to run this folder"
        raise UnavailableError(f"backend {name}", found, expected, row.install_step) from error
    except PrecisionError as error:
        raise UnavailableError(
            f"backend {name}", str(error), "a machine that computes in the folder's precision",
            "Run it on such a machine, or convert with another deploy config.",
        ) from error  # fmt: skip
    except RuntimeError as error:
        _check_available(name)
        expected = f"files that {name} can load"
        raise BadInputError(
            files[0].name, str(error), expected, "Convert the model again."
        ) from error


def _check_available(name: str) -> None:
    """Refuse a backend that cannot run here: then it is not the files that are to blame.

    Raises:
        UnavailableError: With the code and the reason.
    """
    available = get_runtime(name).probe()
    if available.ok:
        return
    installed = available.code is not Code.NOT_INSTALLED
    raise UnavailableError(
        f"backend {name}",
        f"{available.code}: {available.reason}",
        f"{name}, to run this folder",
        "Run it where `posedeploy backends` shows it." if installed else
        backend_row(name).install_step,
    )  # fmt: skip
