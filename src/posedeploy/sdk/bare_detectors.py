"""A YOLOX or RTMDet graph that comes as one `.onnx`, without a folder that describes it.

What a folder would tell is told by the graph (the size and the batch of its input, what its
outputs are) and by the family (how images are normalized). So it is read as a folder is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError
from posedeploy.runtime import TensorInfo
from posedeploy.sdk.archive import locate
from posedeploy.sdk.decode.boxes import STRIDES
from posedeploy.sdk.fields import MAX_SIDE, Node
from posedeploy.sdk.folder import DETECTION, ModelEntry, SdkModel
from posedeploy.sdk.onnxfile import read_onnx
from posedeploy.sdk.safefiles import file_inside

SUFFIX = ".onnx"
_GIVE = "Give a YOLOX or RTMDet graph, or the SDK model folder that the file belongs to."
PAD_VALUE = 114  # of both families: gray, at the right and at the bottom


@dataclass(frozen=True)
class Family:
    """How a family of detectors sees an image; BGR, and normalized by these per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# ---- modify these tables to read another family --------------------------------------------
# fmt: off
FAMILIES: Mapping[str, Family] = {
    # `data_preprocessor` in mmdet/configs/rtmdet/rtmdet_l_8xb32-300e_coco.py, mmdet 3.3.0
    "rtmdet": Family((103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
    # `preproc` in yolox/data/data_augment.py, YOLOX 0.3.0; the same in mmdet
    "yolox":  Family((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
# component -> (what its outputs are, the family that is meant if none is named)
_OUTPUTS: Mapping[str, tuple[str, str | None]] = {
    "ResizeBBox":     ("boxes [N, M, 5] and labels [N, M]", None),
    "UnlabeledBoxes": ("boxes [N, M, 5]", None),
    "YOLOXBoxes":     ("[N, P, 5 + C]: box, objectness and C classes of P priors", "yolox"),
}
# fmt: on
# --------------------------------------------------------------------------------------------


def is_bare(path: str | Path) -> bool:
    """Whether a path is an `.onnx` file without an SDK model folder around it."""
    path = Path(path)
    return path.suffix == SUFFIX and path.is_file() and locate(path)[0] == path


def bare_detector(
    path: str | Path,
    family: str | None = None,
    input_size: tuple[int, int] | None = None,
    score_threshold: float = 0.0,
) -> SdkModel:
    """A detector's graph as the SDK model that it would be in a folder.

    Args:
        path: An `.onnx` file.
        family: A name of `FAMILIES`; None where the outputs tell it.
        input_size: Width and height of the input, px; None where the graph tells them.
        score_threshold: Lower limit of a box's score, exclusive.

    Raises:
        BadInputError: No ONNX file, not an image's input, outputs of no detector that is known,
            or what the graph does not tell was not given.
    """
    given, path = path, Path(path).resolve()
    if path.suffix != SUFFIX:  # caches of downloads are made of such links
        found, expected = f"a link to {path.name}", f"a file or a link to one with {SUFFIX}"
        raise _wrong(Path(given), found, expected, "Copy the file, and give the copy.")
    facts = read_onnx(file_inside(path.parent, path.name, str(path)))
    if len(facts.inputs) != 1:
        found = f"{len(facts.inputs)} inputs"
        raise _wrong(path, found, "one input, the image", _GIVE)
    taken = _input_of(path, facts.inputs[0], input_size)
    component, output_map = _component_of(path, facts.outputs, taken.size)
    look = FAMILIES[_family_of(path, component, family)]
    transforms: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "size": list(taken.size), "fit": True},
        {"type": "Pad", "size": list(taken.size), "pad_val": PAD_VALUE},
        {"type": "Normalize", "mean": list(look.mean), "std": list(look.std), "to_rgb": False},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    batch = taken.batch or 1
    entry = ModelEntry(
        "detector", path.name, "", "onnxruntime", "FP32", batch, dynamic_shape=not taken.batch
    )
    return SdkModel(
        folder=path.parent,
        version="",
        task=DETECTION.name,
        model=entry,
        transforms=tuple(Node(step, path.name, "transforms") for step in transforms),
        input_map={},
        output_map=output_map,
        component=component,
        params=Node({"score_thr": score_threshold}, path.name, "params"),
        detail={},
        module=DETECTION.module,
        channels_last=taken.channels_last,
    )


def _wrong(path: Path, found: str, expected: str, next_step: str) -> BadInputError:
    return BadInputError(str(path), found, expected, next_step)


@dataclass(frozen=True)
class _Input:
    size: tuple[int, int]  # width and height, px
    batch: int  # 0 where it is dynamic
    channels_last: bool


def _input_of(path: Path, info: TensorInfo, asked: tuple[int, int] | None) -> _Input:
    """The input as the graph declares it, and as it was asked for where that is open."""
    found = f"an input of shape {list(info.shape)}"
    last = len(info.shape) == 4 and info.shape[3] == 3 and info.shape[1] != 3
    if len(info.shape) != 4 or info.shape[3 if last else 1] != 3:
        raise _wrong(path, found, "an image: [N, 3, H, W] or [N, H, W, 3]", _GIVE)
    height, width = info.shape[1:3] if last else info.shape[2:]
    if not (isinstance(height, int) and isinstance(width, int)):
        if asked is None:
            raise _wrong(
                path, f"{found}, whose sides are not fixed", "the size of its input",
                "Pass input_size=(width, height), such as (640, 640).",
            )  # fmt: skip
        width, height = asked
    elif asked not in {None, (width, height)}:
        raise _wrong(path, f"{found}, and {asked=}", "the graph's own size", "Leave it out.")
    if not (max(STRIDES) <= min(width, height) and max(width, height) <= MAX_SIDE):
        expected = f"sides from {max(STRIDES)} to {MAX_SIDE} px"
        raise _wrong(path, f"{found}, {width}x{height} px", expected, _GIVE)
    batch = info.shape[0] if isinstance(info.shape[0], int) else 0
    return _Input((width, height), batch, last)


def _component_of(
    path: Path, outputs: tuple[TensorInfo, ...], size: tuple[int, int]
) -> tuple[str, dict[str, str]]:
    """The component that reads these outputs, and the names that it gives them -> their names."""
    by_name = {info.name: info for info in outputs}
    of_rank = {rank: [info for info in outputs if len(info.shape) == rank] for rank in (2, 3)}
    boxes = [by_name[n] for n in ("dets",) if n in by_name] or [
        info for info in of_rank[3] if info.shape[2] == 5
    ]
    total = sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)
    if len(boxes) == 1 and "keypoints" not in by_name:
        labels = by_name.get("labels") or next(iter(of_rank[2]), None)
        names = {"dets": boxes[0].name} | ({"labels": labels.name} if labels else {})
        return ("ResizeBBox" if labels else "UnlabeledBoxes"), names
    if len(outputs) == 1 and _is_raw(outputs[0].shape, total):
        return "YOLOXBoxes", {"output": outputs[0].name}
    shapes = ", ".join(f"{info.name} {list(info.shape)}" for info in outputs) or "none"
    known = "; or ".join(what for what, _ in _OUTPUTS.values())
    expected = f"{known} (here {total} priors, of strides {', '.join(map(str, STRIDES))})"
    raise _wrong(path, f"outputs {shapes}", f"those of a detector: {expected}", _GIVE)


def _is_raw(shape: tuple[int | str, ...], priors: int) -> bool:
    """Whether an output is `[N, P, 5 + C]` of so many priors, as far as its shape is known."""
    if len(shape) != 3 or not isinstance(shape[2], int) or shape[2] < 6:
        return False
    return isinstance(shape[1], str) or shape[1] == priors


def _family_of(path: Path, component: str, asked: str | None) -> str:
    """The family that was asked for, or else the one that is meant with such outputs."""
    outputs, meant = _OUTPUTS[component]
    names = " or ".join(map(repr, FAMILIES))
    if asked is not None and asked not in FAMILIES:
        raise BadInputError("family", repr(asked), f"one of {names}", "Pass one of these.")
    if family := asked or meant:
        return family
    raise _wrong(
        path, f"outputs that both YOLOX and RTMDet have: {outputs}", "to be told which it is",
        f"Pass family={names}: they normalize images in different ways.",
    )  # fmt: skip
