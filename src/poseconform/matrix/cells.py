"""Which cells there are: every model with every deploy config that fits it.

A deploy config fits a model if its outputs are those of the model's head and its shape, where it
names one, is the model's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_.+-]")
_LONGEST = 120  # characters of an id; it is a file name too
OTHER_FAMILY = "other"  # of a model that is in no row of the support table


@dataclass(frozen=True)
class Model:
    """One model under test."""

    name: str  # in the zoo, or the stem of the user's config
    family: str  # row of the support table
    tiers: tuple[str, ...]
    head: str  # as deploy configs write it: '' (heatmap), 'simcc', 'yolox-pose', …
    shape: tuple[int, int]  # (H, W) of the network input, px
    config: str  # path of the MMPose config
    checkpoint: str = ""  # path of the user's; '' for weights that are made
    weights: str = "calibrated"  # which are made where the user gives none: of `weights.KINDS`
    seed: int = 0  # decides weights that are made
    max_detections: int = 0  # that its own `test_cfg` asks for; 0 leaves it to the flow
    score_thr: float = 0.0  # its own `test_cfg` drops people below it; 0.0 for none
    bottom_up: bool = False  # takes the whole image and finds the people itself
    scale_norm: bool = False  # has a ScaleNorm, whose input may be of any scale

    @property
    def marks(self) -> tuple[str, ...]:
        """Markers of its tests: family, tiers."""
        return tuple(mark_name(word) for word in (self.family, *self.tiers))


@dataclass(frozen=True)
class Flow:
    """What one deploy config stands for."""

    deploy_config: str  # name without '.py', or the user's path
    head: str  # kind of head that it is for
    backend: str
    precision: str  # 'fp32', 'fp16', 'bf16' or 'int8'
    shape_mode: str  # 'static' or 'dynamic' (batch)
    shape: tuple[int, int] | None  # (H, W), if the config fixes one
    max_detections: int = 0  # that the config promises (`keep_top_k`); 0 if it names none
    inference_precision: str = ""  # in the backend's own word; '' for what the precision says
    host_suppression: bool = False  # graphs of detectors end before non-maximum suppression
    keypoints: tuple[str, ...] = ()  # outputs, keypoints and scores, of graphs with the decoding
    folder: str = ""  # SDK model folder that is judged as it is; '' where the subject converts
    artifact: str = ""  # path by which the folder was named: its own, a file's in it, or a zip's
    files: tuple[str, ...] = ()  # in that folder, the main one first; () for the backend's names

    @property
    def label(self) -> str:
        """The name without what all names begin with."""
        name = self.deploy_config.rsplit("/", 1)[-1].removesuffix(".py")
        return name.removeprefix("pose-detection_")

    @property
    def is_file(self) -> bool:
        """True for a deploy config that the user named by its path."""
        return "/" in self.deploy_config or self.deploy_config.endswith(".py")

    def fits(self, model: Model) -> bool:
        """True if this deploy config can deploy the model."""
        return self.head == model.head and self.shape in {None, model.shape}


@dataclass(frozen=True)
class Cell:
    """One model with one flow."""

    model: Model
    flow: Flow

    @property
    def id(self) -> str:
        """Name in test ids and of files: 'rtmpose_s-simcc_onnxruntime_dynamic'.

        It ends with a hash where names of the user's could be those of another cell.
        """
        name = f"{self.model.name}-{self.flow.label}"
        return plain(name, self.flow.deploy_config if self.flow.is_file else "")

    @property
    def marks(self) -> tuple[str, ...]:
        """Markers of its tests: backend, precision, shape mode, family, tiers."""
        flow = self.flow
        return (mark_name(flow.backend), flow.precision, flow.shape_mode, *self.model.marks)


def plain(name: str, path: str = "") -> str:
    """A name that is fit for ids of tests, `-k` and files: letters, digits and `_.+-`.

    What is changed for that, or has a `path` that its name does not tell, gets a hash.
    """
    safe = _OTHER_CHARACTERS.sub("_", name)[:_LONGEST]
    if safe == name and not path:
        return name
    digest = hashlib.sha256(os.fsencode(f"{name}\0{path}")).hexdigest()
    return f"{safe}-{digest[:8]}"


def mark_name(word: str) -> str:
    """A word as a pytest marker: 'YOLOX-Pose' -> 'yolox_pose'."""
    return word.lower().replace("-", "_").replace(" ", "_")


def build_cells(models: Iterable[Model], flows: Iterable[Flow]) -> tuple[Cell, ...]:
    """Every model with every flow that fits it, model by model."""
    flows = tuple(flows)
    return tuple(Cell(m, f) for m in models for f in flows if f.fits(m))
