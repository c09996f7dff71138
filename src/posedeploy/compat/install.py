"""Put the stand-ins in place, once a process."""

from __future__ import annotations

import importlib
import importlib.machinery
import logging
import sys
import types
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posedeploy.compat.stand_ins import STAND_INS, StandIn

# Warnings that frighten and mean nothing here: mmcv-lite has no compiled ops by intention,
# mmengine still reads pkg_resources, and mmpose calls two functions of torch by an older
# signature.
_HARMLESS_WARNINGS = (
    "Fail to import ``MultiScaleDeformableAttention``",
    "pkg_resources",
    r"`torch\.cuda\.amp\.autocast",
    r"torch\.meshgrid: in an upcoming release",
)


@dataclass(frozen=True)
class Provided:
    """What `install` did.

    Attributes:
        real: Modules of the table whose real package is used.
        stand_ins: Modules of the table that are provided by stand-ins.
    """

    real: tuple[str, ...]
    stand_ins: tuple[str, ...]


_state: list[Provided] = []


def install() -> Provided:
    """Provide what `import mmpose` needs and this environment lacks. Idempotent.

    Returns:
        Which modules are real and which are stand-ins.
    """
    if _state:
        return _state[0]
    for message in _HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    real, provided = [], []
    for row in STAND_INS:
        if _imports(row.module):
            real.append(row.module)
        else:
            _provide(row)
            provided.append(row.module)
    _state.append(Provided(tuple(real), tuple(provided)))
    return _state[0]


def _imports(module: str) -> bool:
    """True if the real module imports.

    A torchvision built for CUDA beside a CPU torch is installed and raises RuntimeError on
    import; a compiled mmcv for another torch raises ImportError or OSError.  A package that
    cannot be imported cannot be used, and its stand-in is no worse.
    """
    before = set(sys.modules)
    try:
        importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        if not isinstance(error, ModuleNotFoundError):
            logging.getLogger(__name__).warning("%s does not import (%s)", module, error)
        top = module.split(".", maxsplit=1)[0]
        if top not in sys.modules:  # submodules of a half-imported package must not stay behind
            for name in set(sys.modules) - before:
                if name.startswith(f"{top}."):
                    del sys.modules[name]
        return False
    return True


def _provide(row: StandIn) -> None:
    for name, contents in row.names().items():
        module = _module(name, contents)
        sys.modules[name] = module
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), leaf, module)


def _module(name: str, contents: Mapping[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name, "Provided by posedeploy.compat so that mmpose imports.")
    for key, value in contents.items():
        if not key.startswith("__") or key == "__version__":
            setattr(module, key, value)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    return module
