"""The backend table: one row a backend.

`module` is imported on use, so that asking about one backend never loads another.
`main_file` and `weights_file` are the names in an SDK model folder (MMDeploy's names).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from .types import Runtime


@dataclass(frozen=True)
class BackendRow:
    """One backend.

    Attributes:
        name: Backend name as in a deploy config's `backend_config.type`.
        module: Module in `posedeploy.runtime` that holds `RUNTIME`.
        distribution: Name of the package to install.
        min_version: Oldest version that is supported and tested.
        main_file: File that the folder's `deploy.json` names as `net`.
        weights_file: File named as `weights`, '' if there is none.
        devices: Device types it runs on.
    """

    name: str
    module: str
    distribution: str
    min_version: str
    main_file: str
    weights_file: str
    devices: tuple[str, ...]


# ---- modify this table to add a backend ---------------------------------------------------
# fmt: off
BACKENDS: tuple[BackendRow, ...] = (
    BackendRow("onnxruntime", "onnxruntime", "onnxruntime", "1.20", "end2end.onnx", "", ("cpu",)),
    BackendRow("tensorrt",    "tensorrt",    "tensorrt",    "10.0", "end2end.engine", "", ("cuda",)),
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


def get_runtime(name: str) -> Runtime:
    """The runtime of a backend; importing it loads no native library until `load`."""
    module = importlib.import_module(f"{__package__}.{backend_row(name).module}")
    return cast(Runtime, module.RUNTIME)
