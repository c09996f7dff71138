"""Which deploy configs are listed: MMDeploy's own, and those that the models of the zoo need.

Any other name of the grammar can be used as well; listed is what `posedeploy configs list` shows
and what the conformance suite judges.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from posedeploy import heads
from posedeploy.config.files import config_root
from posedeploy.config.naming import OPTIONS, SHAPE_MODES, DeployConfigName
from posedeploy.runtime import registry

BASE_FILE = "pose-detection_static"  # MMDeploy's base file, which names no backend
# (H, W) of the zoo's models by the word of their head kind; a test compares them with the zoo.
SHAPES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "": ((256, 192), (256, 256)),
    "associative-embedding": ((512, 512),),
    "cid": ((512, 512),),
    "dekr": ((512, 512),),
    "regression": ((256, 192), (256, 256)),
    "rtmo": ((416, 416), (640, 640)),
    "simcc": ((256, 192),),
    "vis": ((256, 192),),
    "yolox-pose": ((416, 416), (640, 640)),
}
ALL, FIRST, NONE = "all", "first", "none"  # which of them are in the names


@dataclass(frozen=True)
class Listed:
    """Flows of a backend that are listed."""

    shape_mode: str
    shapes: str  # ALL: a config for each of the head kind; NONE: one that takes the model's shape
    heads: str = ""  # 'top-down', 'bottom-up', or '' for both
    precisions: tuple[str, ...] = ()  # empty for all that the backend has
    option: str = ""  # word of naming.OPTIONS


# ---- modify this table to list other flows -----------------------------------------------------
# fmt: off
LISTED: Mapping[str, tuple[Listed, ...]] = {
    "coreml": (Listed("static", ALL),),
    "litert": (Listed("static", ALL),),
    "mnn":    (Listed("static", ALL),),
    "ncnn":   (Listed("static", ALL),),
    "openvino": (
        Listed("static", ALL),
        Listed("static", ALL, precisions=("fp16",), option="f16"),
        Listed("dynamic", NONE, "top-down"),
        Listed("dynamic", ALL, "bottom-up"),  # as MMDeploy's config for YOLOX-Pose
    ),
    "pplnn": (Listed("static", ALL),),
    "tensorrt": (  # an engine takes minutes to build: one dynamic shape, for detectors in fp32
        Listed("static", ALL),
        Listed("dynamic", FIRST, "top-down"),
        Listed("dynamic", FIRST, "bottom-up", ("fp32",)),
        Listed("static", ALL, "bottom-up", ("fp32",), "nms"),
        Listed("dynamic", FIRST, "bottom-up", ("fp32",), "nms"),
    ),
    "tensorrt-rtx": (Listed("static", ALL), Listed("dynamic", ALL)),
}
# MMDeploy's `pose-detection_torchscript` has 256x192.
REPLACED = {"pose-detection_torchscript_static": "pose-detection_torchscript_static-256x256"}
# fmt: on
# ------------------------------------------------------------------------------------------------


def file_names() -> tuple[str, ...]:
    """Names (without '.py') of the deploy configs that are files: MMDeploy's, sorted."""
    return tuple(sorted(p.stem for p in config_root().glob("*.py") if p.stem != BASE_FILE))


def list_deploy_configs() -> tuple[str, ...]:
    """Names (without '.py') of the listed deploy configs, sorted."""
    rows = itertools.product(registry.BACKENDS, heads.HEADS)
    names = [str(name) for backend, head in rows for name in _of(backend, head)]
    return tuple(sorted({*file_names(), *(REPLACED.get(name, name) for name in names)}))


def _of(backend: registry.BackendSpec, head: heads.HeadSpec) -> Iterator[DeployConfigName]:
    modes = SHAPE_MODES if backend.dynamic_batch else SHAPE_MODES[:1]
    of_the_models_shape = tuple(Listed(mode, NONE) for mode in modes)  # not in the table
    for row in LISTED.get(backend.name, of_the_models_shape):
        if row.heads and (row.heads == "top-down") != head.top_down:
            continue
        if row.option and not OPTIONS[row.option].ends(head):
            continue
        shapes = SHAPES.get(head.word, ())
        chosen = {ALL: shapes, FIRST: shapes[:1], NONE: (None,)}[row.shapes]
        for precision in row.precisions or tuple(word.value for word in backend.precisions):
            for shape in chosen:
                yield DeployConfigName(
                    head.word, backend.name, precision, row.shape_mode, shape, row.option
                )
