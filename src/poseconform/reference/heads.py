"""Kinds of heads, as the judge sees them: one row a kind, and never code of the toolchain.

A row holds what differs between kinds: the outputs that the contract promises, how what mmpose's
head returns becomes them, how clear the decoder's decisions are, and the outputs of graphs that
end before non-maximum suppression. Keypoints are decoded by each model's own codec, for all kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.reference.codecs import heatmap_gaps, no_gaps, simcc_gaps
from poseconform.reference.refinement import (
    Refinement,
    heatmap_refinement,
    no_refinement,
)

Gaps = tuple[NDArray[np.float64], NDArray[np.float64]]
# Outputs of graphs that end with decoded candidates, in the order of the contract
DENSE = ("boxes", "scores", "keypoints")


@dataclass(frozen=True)
class TopDown:
    """A head that is given one person's crop.

    `final` makes the tensors of the outputs, in order, of what `head.forward` returns; `gaps` is
    how clear the decoder's decisions are, see `codecs.heatmap_gaps`; `refinement` is how far
    errors move what it refines. `decoding` is the part of a head that decodes, and `reads` how
    many of the outputs it reads, from the first; None for all. `peaks` is False where the outputs
    are coordinates, and no keypoint is at the maximum of a row.
    """

    final: Callable[[Any], tuple[Any, ...]]
    gaps: Callable[[Any, Mapping[str, NDArray[np.float64]]], Gaps]
    refinement: Callable[[Any, Mapping[str, NDArray[np.float64]]], Refinement] = no_refinement
    forward: Callable[[Any, Any], Any] = lambda head, features: head.forward(features)
    decoding: Callable[[Any], Any] = lambda head: head
    reads: int | None = None
    peaks: bool = True


@dataclass(frozen=True)
class BottomUp:
    """A head that is given the whole image and detects the people itself.

    `layers` names what `head.forward` returns, one a list of maps: the outputs of graphs that end
    with the head's last layers. '' stands for what `head.predict` does not read.
    """

    layers: tuple[str, ...]


@dataclass(frozen=True)
class ReferenceHead:
    """One kind of head, and how mmpose itself is run."""

    word: str  # in the name of a deploy config; '' for heatmaps
    outputs: tuple[str, ...]  # of the whole graph, in order
    kind: TopDown | BottomUp

    def read(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the outputs of a top-down graph that keypoints are decoded from."""
        count = self.kind.reads if isinstance(self.kind, TopDown) else None
        return {name: outputs[name] for name in self.outputs[:count] if name in outputs}

    @property
    def has_peaks(self) -> bool:
        """True if each row of an output has its keypoint at the maximum."""
        return isinstance(self.kind, TopDown) and self.kind.peaks

    def leaves_suppression(self, outputs: Iterable[str]) -> bool:
        """True if a graph with these outputs, in any order, leaves suppression to the host."""
        if isinstance(self.kind, TopDown):
            return False
        raw = frozenset(name for name in self.kind.layers if name)
        return frozenset(outputs) in {frozenset(DENSE), raw}


def last_stage(out: Any) -> tuple[Any, ...]:
    """The only heatmaps, or those of the last stage of many, as MSPN has them."""
    return (out[-1],) if isinstance(out, list) else (out,)


def with_visibility(head: Any, features: Any) -> tuple[Any, ...]:
    """Heatmaps and probabilities of a `VisPredictHead`, whose `predict` may take the sigmoid."""
    out, visibility = head.forward(features)
    return (*last_stage(out), visibility if head.use_sigmoid else visibility.sigmoid())


def coordinates(out: Any) -> tuple[Any, ...]:
    """The coordinates, without the heatmaps that integral regression heads return beside them."""
    return (out[0],) if isinstance(out, tuple) else (out,)


_DETECTIONS = ("dets", "keypoints")

# ---- modify this table to add a kind of head ---------------------------------------------------
# fmt: off
REFERENCE_HEADS: tuple[ReferenceHead, ...] = (
    ReferenceHead("", ("output",), TopDown(last_stage, heatmap_gaps, heatmap_refinement)),
    ReferenceHead("regression", ("output",), TopDown(coordinates, no_gaps, peaks=False)),
    ReferenceHead("rtmo", _DETECTIONS, BottomUp(("cls", "bbox", "", "kpt_vis", "pose_vec"))),
    ReferenceHead("simcc", ("simcc_x", "simcc_y"), TopDown(tuple, simcc_gaps)),
    ReferenceHead("vis", ("output", "visibility"),
                  TopDown(tuple, heatmap_gaps, heatmap_refinement, forward=with_visibility,
                          decoding=lambda head: head.pose_head, reads=1)),
    ReferenceHead("yolox-pose", _DETECTIONS,
                  BottomUp(("cls", "obj", "bbox", "kpt_offset", "kpt_vis"))),
)
# fmt: on
# ------------------------------------------------------------------------------------------------


def reference_head(word: str) -> ReferenceHead:
    """The row of a kind; raises `LookupError` where there is none."""
    for head in REFERENCE_HEADS:
        if head.word == word:
            return head
    raise LookupError(
        f"no reference for the head kind {word!r}; known: "
        f"{', '.join(repr(head.word) for head in REFERENCE_HEADS)}. Add a row to {__name__}."
    )
