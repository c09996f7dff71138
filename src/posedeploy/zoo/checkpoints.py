"""Checkpoints: read without running code in them, and loaded only into the model they belong to.

A `.pth` file is a pickle, and a pickle can run any code. `torch.load(weights_only=True)` refuses
everything but tensors and plain containers. MMEngine's checkpoints also contain numpy arrays (in
`meta.dataset_meta`) and training curves (in `message_hub`). These names are allowed here; they
stand for classes of this package that take data and trust nothing else in the pickle.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import nn

from posedeploy.errors import BadInputError, what_it_is
from posedeploy.zoo import pickled_arrays
from posedeploy.zoo.distilled import student_weights

# Keys that may be absent from a checkpoint or be left over in it, each with its reason.
# fmt: off
HARMLESS_KEYS: Mapping[str, str] = {
    r"(.*\.)?num_batches_tracked":  "counts training steps; evaluation never reads it",
    r"data_preprocessor\..*":       "mean and std come from the config",
    r"(.*\.)?(x_bins|y_bins|dim_t)": "constants of RTMO's DCC, computed from the config",
    r"(.*\.)?pos_enc_\d.*":          "constants of RTMO's neck, computed from the input size",
    r"(.*\.)?loss[^.]*\..*":        "buffers of a loss; deployment has none",
}
# fmt: on
_HARMLESS = re.compile("|".join(f"(?:{pattern})" for pattern in HARMLESS_KEYS))
_REFUSED = re.compile(r"(?:GLOBAL|type) ([\w.]+)")  # as torch's messages name what they refuse
_SHAPES = re.compile(
    r"size mismatch for (\S+): .*?torch\.Size\(\[([^\]]*)\]\) from checkpoint, "
    r".*?torch\.Size\(\[([^\]]*)\]\)"
)
# What tensors of weights must not be -> whether one is none of it
_LOADABLE: Mapping[str, Callable[[torch.Tensor], bool]] = {
    "without data": lambda tensor: not tensor.is_meta,
    "sparse": lambda tensor: tensor.layout == torch.strided,
    "quantized": lambda tensor: not tensor.is_quantized,
    "of integers": torch.Tensor.is_floating_point,
}
_SHOWN = 3  # keys listed in a message; the others are counted


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file: tensors on the CPU, and MMEngine's metadata, which may be empty."""

    path: Path
    state_dict: dict[str, torch.Tensor] = field(repr=False)
    meta: Mapping[str, Any] = field(repr=False)


class TrainingCurve:
    """Replaces MMEngine's HistoryBuffer while unpickling; has its state and no methods."""


def _curve_attribute(owner: object, name: str) -> str:
    """Replaces `getattr` while unpickling; returns the name of a method of HistoryBuffer.

    MMEngine pickles its statistics methods (`mean`, `max`, …) as `getattr(HistoryBuffer, 'mean')`.
    """
    if owner is not TrainingCurve:
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL builtins.getattr on {owner!r}")
    return name


def _no_bytes() -> bytes:
    """Replaces `bytes` while unpickling, which pickles of empty numpy arrays call for no bytes."""
    return b""


def _allowed_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Objects that a checkpoint may refer to, each with its name in pickles."""
    return [
        (TrainingCurve, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_curve_attribute, "builtins.getattr"),
        (_no_bytes, "builtins.bytes"),
        *pickled_arrays.allowed_globals(),
    ]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint file without running code in it.

    Raises:
        BadInputError: The file is missing, is no checkpoint, its pickle refers to more than
            tensors, plain containers and `_allowed_globals`, or weights are not finite.
    """
    path = Path(path)
    if not path.is_file():
        actual = "a folder" if path.is_dir() else "no such file"
        raise BadInputError(f"checkpoint {path}", actual, "a .pth file", "Check the path.")
    content = _unpickle(path)
    state_dict = content.get("state_dict", content) if isinstance(content, dict) else None
    if not _is_state_dict(state_dict):
        actual = f"a pickled {type(content).__name__}"
        if isinstance(content, dict):
            keys = ", ".join(map(repr, list(content)[:_SHOWN]))
            actual = f"a dict with {keys or 'nothing in it'}"
        raise BadInputError(
            f"checkpoint {path}", actual,
            "a state dict of tensors, or a dict with one under 'state_dict'",
            "Give the .pth file that training or mmpose's model zoo wrote.",
        )  # fmt: skip
    # in place: a copy would lose `_metadata`, torch's versions of the modules' layouts
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state_dict, "module.")
    meta = content.get("meta") if content is not state_dict else None
    meta = meta if isinstance(meta, Mapping) else {}
    checkpoint = Checkpoint(path, student_weights(path, state_dict, meta), meta)
    _check_finite(checkpoint)
    return checkpoint


def _unpickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_allowed_globals()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way; each becomes one error
        refused = sorted(set(_REFUSED.findall(str(error))))
        if not isinstance(error, pickle.UnpicklingError) or not refused:
            raise BadInputError(
                f"checkpoint {path}",
                f"{what_it_is(path)} that torch cannot read ({type(error).__name__})",
                "a checkpoint written by torch.save",
                "Was the download cut short? Fetch the file again.",
            ) from error
        raise BadInputError(
            f"checkpoint {path}", f"a pickle that asks for {', '.join(refused)}",
            "tensors, plain containers and numpy arrays only",
            "Unpickling more than that could run any code, so it was not loaded. If you trust "
            "the file, load it yourself and save only its 'state_dict' and 'meta'.",
        ) from error  # fmt: skip


def _is_state_dict(value: object) -> TypeGuard[dict[str, torch.Tensor]]:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(t, torch.Tensor) for k, t in value.items())
    )


def apply_checkpoint(model: torch.nn.Module, checkpoint: Checkpoint, model_name: str) -> None:
    """Load a checkpoint's weights into a model, in place.

    mmpose's own load hooks run first, so files of mmpose 0.x (`keypoint_head.…`) load as well.
    `model_name` is for messages.

    Raises:
        BadInputError: Keys other than `HARMLESS_KEYS` are missing, left over or of another shape,
            or weights are not as `_LOADABLE`: torch would convert integers without a word.
    """
    floats = {k for k, v in model.state_dict().items() if v.is_floating_point()}
    for kind, fits in _LOADABLE.items():
        unfit = [k for k, v in checkpoint.state_dict.items() if k in floats and not fits(v)]
        if found := _counted(kind, unfit):
            raise BadInputError(
                f"checkpoint {checkpoint.path}", found, "dense tensors in floating point",
                "Give the checkpoint as training wrote it, before it was quantized or pruned.",
            )  # fmt: skip
    try:
        model.load_state_dict(checkpoint.state_dict, strict=True)
    except RuntimeError as error:  # raised after every key that fits has been loaded
        differences = _differences(str(error))
        if not differences:
            raise
        harmful = [text for keys in differences if (text := _counted(*keys))]
        if harmful:
            raise BadInputError(
                f"checkpoint {checkpoint.path}", "; ".join(harmful),
                f"exactly the weights of {model_name}",
                "The checkpoint belongs to another model: give the config it was trained with.",
            ) from error  # fmt: skip


def _check_finite(checkpoint: Checkpoint) -> None:
    plain = {
        key: tensor
        for key, tensor in checkpoint.state_dict.items()
        if not _HARMLESS.fullmatch(key) and all(fits(tensor) for fits in _LOADABLE.values())
    }
    bad = {
        key: int((~tensor.isfinite()).sum())
        for key, tensor in plain.items()
        if not bool(tensor.isfinite().all())
    }
    if bad:
        key, count = next(iter(bad.items()))
        more = f", and {len(bad) - 1} more tensors like it" if len(bad) > 1 else ""
        raise BadInputError(
            f"checkpoint {checkpoint.path}",
            f"{count} of the {checkpoint.state_dict[key].numel()} values of {key} are not finite"
            f"{more}",
            "weights that are numbers", "Take a checkpoint from before the training diverged.",
        )  # fmt: skip


def _differences(message: str) -> list[tuple[str, list[str]]]:
    """Kinds of difference with their keys, parsed from torch's message of a strict load."""
    differences = [
        (kind, re.findall(r'"([^"]+)"', listed))
        for kind, label in (("missing", "Missing"), ("left over", "Unexpected"))
        for listed in re.findall(rf"{label} key\(s\) in state_dict: (.*)", message)
    ]
    shapes = [f"{key} [{a}] instead of [{b}]" for key, a, b in _SHAPES.findall(message)]
    return [*differences, ("of another shape", shapes)] if shapes else differences


def _counted(what: str, keys: list[str]) -> str:
    keys = [key for key in keys if not _HARMLESS.fullmatch(key)]
    if not keys:
        return ""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    noun = "keys" if len(keys) > 1 else "key"
    return f"{len(keys)} {noun} {what} ({', '.join(keys[:_SHOWN])}{more})"
