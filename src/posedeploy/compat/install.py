"""Put the stand-ins in place, once a process, and take their scopes out of configs.

RTMPose's configs have `_scope_='mmdet'` for a backbone (CSPNeXt) that mmpose itself has under the
same name.  Without mmdet, mmengine falls back to mmpose's with a warning that it cannot find
mmdet; taking the scope out of the config asks for mmpose's in the first place.
"""

from __future__ import annotations

import functools
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
    """Modules of the table whose real package is used, and those that are stand-ins."""

    real: tuple[str, ...]
    stand_ins: tuple[str, ...]


@functools.cache
def install() -> Provided:
    """Provide what `import mmpose` needs and this environment lacks. Idempotent."""
    for message in _HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    real, provided = [], []
    for row in STAND_INS:
        if _imports(row.module):
            real.append(row.module)
        else:
            _provide(row)
            provided.append(row.module)
    return Provided(tuple(real), tuple(provided))


_PROBE_OF_SCOPE = {"mmdet": "mmdet.utils"}


def without_missing_scopes(node: Any) -> Any:
    """A copy of a config tree without `_scope_` entries of packages that are stand-ins here."""
    missing = {s for s, module in _PROBE_OF_SCOPE.items() if module in install().stand_ins}
    return _strip(node, missing)


def _strip(node: Any, missing: set[str]) -> Any:
    if isinstance(node, dict):
        entries = {
            key: _strip(value, missing)
            for key, value in node.items()
            if not (key == "_scope_" and value in missing)
        }
        return type(node)(entries)
    if isinstance(node, list | tuple):
        return type(node)(_strip(item, missing) for item in node)
    return node


def _imports(module: str) -> bool:
    """True if the real module imports.

    A torchvision built for CUDA, with a CPU torch, is installed and raises RuntimeError on
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
