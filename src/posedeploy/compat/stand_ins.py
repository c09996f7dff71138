"""What makes mmpose 1.3.2 import on a current stack, without compiled mmcv, mmdet, torchvision.

The same for mmpretrain 1.2.0, whose vision transformer is the backbone of ViTPose.

Call `install()` before the first `import mmpose`. Stand-ins provide only names that mmpose imports
and the supported families never run; a stand-in that is called raises. One does the same as the
real one: the deformable convolution of DEKR. Where the real package is installed and imports, it
is used.

RTMPose's configs have `_scope_='mmdet'` for a backbone (CSPNeXt) that mmpose itself has under the
same name. Without mmdet, mmengine falls back to mmpose's with a warning that it cannot find
mmdet; taking the scope out of the config asks for mmpose's in the first place. Some of ViTPose's
configs name mmpretrain by its former name, mmcls, and two have a field of that time.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import logging
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from posedeploy.compat.deferred import defer
from posedeploy.compat.unusable import StandInUsedError, unusable

# mmcv-lite has no compiled ops by intention, mmengine still reads pkg_resources, and mmpose calls
# two functions of torch by an older signature.
_HARMLESS_WARNINGS = (
    "Fail to import ``MultiScaleDeformableAttention``",
    "pkg_resources",
    r"`torch\.cuda\.amp\.autocast",
    r"torch\.meshgrid: in an upcoming release",
    "Default grid_sample and affine_grid behavior",  # of MMPose's codec SPR
)
_MODULE_OF_SCOPE = {"mmdet": "mmdet.utils"}
_RENAMED_SCOPES = {"mmcls": "mmpretrain"}
# Fields that a type had under its former name: (field, value) -> what says the same now. ViTPose's
# neck takes the patches as a map, without the class token; two of its configs say so as mmcls did.
_FORMER_FIELDS: Mapping[str, Mapping[tuple[str, Any], tuple[str, Any]]] = {
    "mmcls.VisionTransformer": {("output_cls_token", False): ("out_type", "featmap")},
}
_NEEDING_INSTALL = ("mmpose.", "xtcocotools")  # `mmpose` itself imports none of the others


def _unusable(name: str, package: str) -> type:
    return unusable(
        name,
        f"{package} is not installed here; the supported model families do not need it. "
        f"Install {package} to use this model.",
    )


# Module name -> the names in it, for the modules that a stand-in provides.
_Modules = Mapping[str, Mapping[str, Any]]


def _torchvision() -> _Modules:
    names = ("torchvision.transforms.ToPILImage", "torchvision.transforms.InterpolationMode")
    image, mode = (_unusable(name, "torchvision") for name in names)
    return {
        "torchvision": {"__version__": "0.0.0"},
        "torchvision.ops": {},
        "torchvision.ops.boxes": {},
        "torchvision.transforms": {"ToPILImage": image},
        "torchvision.transforms.functional": {},
        "torchvision.transforms.transforms": {"InterpolationMode": mode},
    }


def _einops() -> _Modules:
    names = ("rearrange", "repeat")
    return {"einops": {name: _unusable(f"einops.{name}", "einops") for name in names}}


def _importlib_metadata() -> _Modules:
    # the backport of what the standard library has
    return {"importlib_metadata": vars(importlib.metadata)}


def _mat4py() -> _Modules:
    return {"mat4py": {}}


def _modelindex() -> _Modules:
    load, model = (_unusable(f"modelindex.{name}", "modelindex") for name in ("load", "Model"))
    return {
        "modelindex": {},
        "modelindex.load_model_index": {"load": load},
        "modelindex.models": {},
        "modelindex.models.Model": {"Model": model},
    }


def _mmcv_ops() -> _Modules:
    from posedeploy.deformable import DeformConv2d

    name = "MultiScaleDeformableAttention"
    unusable = _unusable(f"mmcv.ops.{name}", "the compiled mmcv")
    return {"mmcv.ops": {name: unusable, "DeformConv2d": DeformConv2d}}


def _mmdet() -> _Modules:
    from mmengine.config import ConfigDict

    def reduce_mean(tensor: Any) -> Any:
        """As mmdet's, which is the mean over the processes of a distributed training."""
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            raise StandInUsedError("Install mmdet to train RTMO in several processes.")
        return tensor

    return {
        "mmdet": {},
        "mmdet.utils": {"ConfigType": ConfigDict | dict, "reduce_mean": reduce_mean},
    }


def _xtcocotools() -> _Modules:
    # pycocotools has wheels for numpy 2 and the same import-time names; evaluation with
    # xtcocotools' own arguments (sigmas, use_area) is not covered by it.
    from pycocotools import coco, cocoeval, mask

    modules = {"coco": coco, "cocoeval": cocoeval, "mask": mask}
    return {"xtcocotools": {}} | {f"xtcocotools.{k}": vars(v) for k, v in modules.items()}


@dataclass(frozen=True)
class StandIn:
    """A row: if `module` imports, nothing is provided, else the modules that `names` returns."""

    module: str
    names: Callable[[], _Modules]


# fmt: off
STAND_INS: tuple[StandIn, ...] = (
    StandIn("einops",                 _einops),              # mmpretrain: selfsup/beit.py
    StandIn("importlib_metadata",     _importlib_metadata),  # mmpretrain: utils/dependency.py
    StandIn("mat4py",                 _mat4py),              # mmpretrain: datasets/dtd.py
    StandIn("mmcv.ops",               _mmcv_ops),            # edpose_head.py, …
    StandIn("mmdet.utils",            _mmdet),               # rtmo_head.py
    StandIn("modelindex",             _modelindex),          # mmpretrain: apis/model.py
    StandIn("torchvision.transforms", _torchvision),         # simcc_vis.py, mmpretrain
    StandIn("xtcocotools.coco",       _xtcocotools),         # datasets, evaluation/metrics
)
# fmt: on


@dataclass(frozen=True)
class Provided:
    """Modules of the table whose real package is used, and those that are stand-ins."""

    real: tuple[str, ...]
    stand_ins: tuple[str, ...]


@functools.cache
def install() -> Provided:
    """Provide what `import mmpose` needs and this environment lacks, once a process."""
    defer()
    for message in _HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    real, provided = [], []
    for row in STAND_INS:
        if _imports(row.module):
            real.append(row.module)
            continue
        provided.append(row.module)
        for name, contents in row.names().items():
            sys.modules[name] = module = _module(name, contents)
            parent, _, leaf = name.rpartition(".")
            if parent:
                setattr(importlib.import_module(parent), leaf, module)
    return Provided(tuple(real), tuple(provided))


class _BeforeMmpose:
    """Finds no module, and calls `install` as soon as one of mmpose is looked for."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name.startswith(_NEEDING_INSTALL):
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
            install()


@contextlib.contextmanager
def installing() -> Iterator[None]:
    """Code in the block may import mmpose: `install` comes first then, and only then.

    For configs, which are Python and name modules to import: most import nothing, and `install`
    takes seconds.
    """
    finder: Any = _BeforeMmpose()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path[:] = [other for other in sys.meta_path if other is not finder]


def without_missing_scopes(node: Any) -> Any:
    """A copy of a config tree without the scopes of packages that are stand-ins here.

    A scope is an entry `_scope_='mmdet'`, or the beginning of a type, as in `'mmdet.CSPNeXt'`. One
    that was renamed gets its present name: `'mmcls.VisionTransformer'` is mmpretrain's.
    """
    missing = {s for s, module in _MODULE_OF_SCOPE.items() if module in install().stand_ins}
    return _rescoped(node, _RENAMED_SCOPES | dict.fromkeys(missing, ""))


def _rescoped(node: Any, scopes: Mapping[str, str]) -> Any:
    """A copy with other scopes: `scopes` maps a scope to the one in its place, '' for none."""
    if isinstance(node, dict):
        entries = {key: _rescoped(value, scopes) for key, value in node.items()}
        if (own := str(entries.get("_scope_", ""))) in scopes:
            del entries["_scope_"]
            entries |= {"_scope_": scopes[own]} if scopes[own] else {}
        former = str(entries.get("type", ""))
        scope, _, name = former.partition(".")
        if scope in scopes:
            to = scopes[scope]
            for (old, value), (new, same) in _FORMER_FIELDS.get(former, {}).items():
                if entries.get(old) == value:
                    del entries[old]
                    entries[new] = same
            entries["type"] = f"{to}.{name}" if to else name.rpartition(".")[2]
        return type(node)(entries)
    if isinstance(node, list | tuple):
        return type(node)(_rescoped(item, scopes) for item in node)
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


def _module(name: str, contents: Mapping[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name, "Provided by posedeploy.compat so that mmpose imports.")
    for key, value in contents.items():
        if not key.startswith("__") or key == "__version__":
            setattr(module, key, value)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    return module
