"""The names that `import mmpose` needs and the supported families never run.

One row a package: the module whose presence decides, where mmpose imports it, and what is
provided in its place.  A stand-in that is called raises; it never computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn


class StandInUsedError(RuntimeError):
    """Code ran a name that was only provided so that `import mmpose` succeeds."""


def _unusable(name: str, package: str) -> type:
    """A class that can be imported, subclassed and registered, but not instantiated."""

    def refuse(_self: object, *_args: object, **_kwargs: object) -> NoReturn:
        raise StandInUsedError(
            f"{name} was called, but {package} is not installed here; the supported model "
            f"families do not need it. Install {package} to use this model."
        )

    return type(name.rsplit(".", 1)[-1], (), {"__init__": refuse, "__module__": __name__})


def _torchvision() -> Mapping[str, Mapping[str, Any]]:
    return {
        "torchvision": {"__version__": "0.0.0"},
        "torchvision.transforms": {
            "ToPILImage": _unusable("torchvision.transforms.ToPILImage", "torchvision")
        },
    }


def _mmcv_ops() -> Mapping[str, Mapping[str, Any]]:
    name = "MultiScaleDeformableAttention"
    return {"mmcv.ops": {name: _unusable(f"mmcv.ops.{name}", "the compiled mmcv")}}


def _mmdet() -> Mapping[str, Mapping[str, Any]]:
    from mmengine.config import ConfigDict

    def reduce_mean(_tensor: object) -> NoReturn:
        raise StandInUsedError(
            "mmdet.utils.reduce_mean belongs to training; install mmdet to train RTMO."
        )

    return {
        "mmdet": {},
        "mmdet.utils": {"ConfigType": ConfigDict | dict, "reduce_mean": reduce_mean},
    }


def _xtcocotools() -> Mapping[str, Mapping[str, Any]]:
    # pycocotools has wheels for numpy 2 and the same import-time names; evaluation with
    # xtcocotools' own arguments (sigmas, use_area) is not covered by it.
    from pycocotools import coco, cocoeval, mask

    modules = {"coco": coco, "cocoeval": cocoeval, "mask": mask}
    return {"xtcocotools": {}} | {f"xtcocotools.{k}": vars(v) for k, v in modules.items()}


@dataclass(frozen=True)
class StandIn:
    """One row.

    Attributes:
        module: The module that decides: if it imports, nothing is provided.
        names: Makes the modules to provide: module name -> its names.
    """

    module: str
    names: Callable[[], Mapping[str, Mapping[str, Any]]]


# fmt: off
STAND_INS: tuple[StandIn, ...] = (
    StandIn("mmcv.ops",               _mmcv_ops),     # edpose_head.py, deformable_detr_layers.py
    StandIn("mmdet.utils",            _mmdet),        # rtmo_head.py
    StandIn("torchvision.transforms", _torchvision),  # visualization/simcc_vis.py
    StandIn("xtcocotools.coco",       _xtcocotools),  # datasets, evaluation/metrics
)
# fmt: on
