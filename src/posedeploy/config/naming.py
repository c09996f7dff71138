"""The naming grammar of deploy configs: a parser and a printer.

    pose-detection[_{simcc,yolox-pose,rtmo}]_{backend}[-{precision}][-{option}]_{static,dynamic}
        [-{H}x{W}]

"dynamic" means a dynamic batch; height and width are always fixed.  A name says H x W, the
`input_shape` inside the file says [W, H] (both are MMDeploy's habit, and are kept).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TASK = "pose-detection"
VARIANTS = ("", "simcc", "yolox-pose", "rtmo")
PRECISIONS = ("fp32", "fp16", "int8")
SHAPE_MODES = ("static", "dynamic")
# What a flow does otherwise than the backend's other flows: 'nms' keeps non-maximum suppression
# in the graph of a backend that leaves it to the host; 'f16' also computes in float16 on a backend
# whose fp16 flows store weights so and compute in float32.
OPTIONS = ("", "f16", "nms")

_PATTERN = re.compile(
    rf"{TASK}"
    r"(?:_(?P<variant>simcc|yolox-pose|rtmo))?"
    r"_(?P<backend>[a-z][a-z0-9]*)"
    r"(?:-(?P<precision>fp16|int8))?"
    r"(?:-(?P<option>f16|nms))?"
    r"_(?P<shape_mode>static|dynamic)"
    r"(?:-(?P<height>[1-9][0-9]*)x(?P<width>[1-9][0-9]*))?"
)


@dataclass(frozen=True)
class DeployConfigName:
    """What the name of a deploy config says.

    Attributes:
        variant: '' for heatmap models, else one of `VARIANTS`.
        backend: Backend name.
        precision: One of `PRECISIONS`; fp32 is not written.
        shape_mode: 'static' or 'dynamic' (batch).
        shape: (H, W) in input px, None if the name has none.
        option: One of `OPTIONS`.
    """

    variant: str
    backend: str
    precision: str
    shape_mode: str
    shape: tuple[int, int] | None = None
    option: str = ""

    def __str__(self) -> str:
        variant = f"_{self.variant}" if self.variant else ""
        precision = f"-{self.precision}" if self.precision != "fp32" else ""
        shape = f"-{self.shape[0]}x{self.shape[1]}" if self.shape else ""
        option = f"-{self.option}" if self.option else ""
        return f"{TASK}{variant}_{self.backend}{precision}{option}_{self.shape_mode}{shape}"


# Names of MMDeploy that do not follow the grammar, and what they stand for.
IRREGULAR = {
    "pose-detection_torchscript": DeployConfigName("", "torchscript", "fp32", "static"),
}


def parse_name(name: str) -> DeployConfigName:
    """Read a deploy config's name (with or without '.py').

    Raises:
        ValueError: The name does not follow the grammar.
    """
    stem = name.removesuffix(".py")
    if stem in IRREGULAR:
        return IRREGULAR[stem]
    match = _PATTERN.fullmatch(stem)
    if match is None or match["backend"] in SHAPE_MODES:
        raise ValueError(
            f"{name!r} is not a deploy config's name; expected pose-detection"
            "[_{simcc,yolox-pose,rtmo}]_{backend}[-{fp16,int8}][-{f16,nms}]_{static,dynamic}[-{H}x{W}]"
        )
    shape = (int(match["height"]), int(match["width"])) if match["height"] else None
    return DeployConfigName(
        match["variant"] or "",
        match["backend"],
        match["precision"] or "fp32",
        match["shape_mode"],
        shape,
        match["option"] or "",
    )
