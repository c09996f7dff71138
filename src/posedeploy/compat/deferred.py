"""Packages that mmpose, mmengine, mmcv and onnx_ir import and that a conversion never runs.

`defer` has them imported at their first use instead. Only the modules of the table see it, by an
`__import__` of their own: everybody else's import of the same package is the real one, and so is
theirs if the package is loaded already.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from posedeploy.compat.unusable import unusable

_TRANSFORMS = "mmpose.datasets.transforms"
_FSDP = "torch.distributed.fsdp"
_WRAPPER = f"{_FSDP}.fully_sharded_data_parallel"
# ---- modify this table where a release imports something else ----------------------------------
# Module -> the modules that it imports, or imports names from, and uses in functions alone.
DEFERRED: Mapping[str, frozenset[str]] = {
    "mmcv.image.io": frozenset({"tifffile"}),
    "mmengine.config.config": frozenset({"yapf", "yapf.yapflib.yapf_api"}),
    "mmengine.fileio.handlers.yaml_handler": frozenset({"yaml"}),
    "mmpose.codecs.associative_embedding": frozenset({"munkres"}),
    "mmpose.datasets.datasets.body.mpii_dataset": frozenset({"scipy.io"}),
    f"{_TRANSFORMS}.bottomup_transforms": frozenset({"scipy.stats"}),
    f"{_TRANSFORMS}.common_transforms": frozenset({"scipy.stats"}),
    "onnx_ir._core": frozenset({"sympy"}),
    "onnx_ir._symbolic_shapes": frozenset({"sympy"}),
}
# Module -> the modules that it imports base classes from, for distributed training.
UNUSABLE: Mapping[str, frozenset[str]] = {
    "mmengine._strategy.fsdp": frozenset({_FSDP, _WRAPPER}),
    "mmengine.model.wrappers.fully_sharded_distributed": frozenset({f"{_FSDP}.api", _WRAPPER}),
    "mmengine.optim.optimizer.zero_optimizer": frozenset({"torch.distributed.optim"}),
}
# ------------------------------------------------------------------------------------------------


class _Deferred:
    """What is called `name` in a module, which is imported when it is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())


class _Module:
    """A module that is not imported: `make` gives what is called so in it, but for `__names__`."""

    def __init__(self, module: str, make: Callable[[str, str], object]) -> None:
        self._module, self._make = module, make

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            return getattr(importlib.import_module(self._module), name)
        return self._make(self._module, name)


def _unusable(module: str, name: str) -> type:
    reason = f"{module} is left out where models are converted. Import {module} before mmengine."
    return unusable(f"{module}.{name}", reason)


class _Loader(SourceFileLoader):
    """Runs a module of the table with an `__import__` of its own."""

    def exec_module(self, module: ModuleType) -> None:
        importing = functools.partial(_import, module.__name__)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": importing}
        super().exec_module(module)


def _import(importer: str, name: str, *args: Any, **kwargs: Any) -> Any:
    """`builtins.__import__` for the module `importer`."""
    absolute = len(args) < 4 or args[3] == 0  # an import statement gives all its arguments
    if absolute and name not in sys.modules:
        if name in DEFERRED.get(importer, ()):
            return _Module(name, _Deferred)
        if name in UNUSABLE.get(importer, ()):
            return _Module(name, _unusable)
    return builtins.__import__(name, *args, **kwargs)


class _Finder:
    """Finds the modules of the table, where they are source files."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in DEFERRED and name not in UNUSABLE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


@functools.cache
def defer() -> None:
    """Defer the imports of the table, in modules that are not imported yet."""
    finder: Any = _Finder()
    sys.meta_path.insert(0, finder)
