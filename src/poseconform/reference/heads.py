"""Kinds of heads, as the judge sees them: one row a kind, and never code of the toolchain.

A row holds what differs between kinds: the outputs that the contract promises, how what mmpose's
head returns becomes them, how clear the decoder's decisions are, and the outputs of graphs that
end before non-maximum suppression. Keypoints are decoded by each model's own codec, for all kinds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
class Grouping:
    """A head that is given the whole image, and whose maps are put together to people outside it.

    `maps` makes the tensors of the outputs, in order, of the model and its features; `people` is
    mmpose's `InstanceData` of the model, the outputs `[1, ...]` of one image, and its
    `PoseDataSample`. Within `choices(seed)` mmpose takes others of the solutions that are equally
    good, where there are several.
    """

    maps: Callable[[Any, Any], tuple[Any, ...]]
    people: Callable[[Any, tuple[Any, ...], Any], Any]
    choices: Callable[[int], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class ReferenceHead:
    """One kind of head, and how mmpose itself is run."""

    word: str  # in the name of a deploy config; '' for heatmaps
    outputs: tuple[str, ...]  # of the whole graph, in order
    kind: TopDown | BottomUp | Grouping

    def read(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the outputs of a top-down graph that keypoints are decoded from."""
        count = self.kind.reads if isinstance(self.kind, TopDown) else None
        return {name: outputs[name] for name in self.outputs[:count] if name in outputs}

    @property
    def has_peaks(self) -> bool:
        """True if each row of an output has its keypoint at the maximum."""
        return isinstance(self.kind, TopDown) and self.kind.peaks

    def leaves_suppression(self, outputs: Iterable[str]) -> bool:
        """True if a graph with these outputs, in any order, leaves the people to the host."""
        if isinstance(self.kind, TopDown):
            return False
        if isinstance(self.kind, Grouping):
            return frozenset(outputs) == frozenset(self.outputs)
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


def output_of_head(model: Any, features: Any) -> tuple[Any, ...]:
    """What `head.forward` returns."""
    return tuple(model.head.forward(features))


def predicted(model: Any, outputs: tuple[Any, ...], sample: Any) -> Any:
    """`head.predict` with these outputs in place of those of the head's layers."""
    model.head.forward = lambda _features: outputs  # an attribute of this instance only
    try:
        return model.head.predict(None, [sample], dict(model.test_cfg))[0]
    finally:
        del model.head.forward


def associated(model: Any, outputs: tuple[Any, ...], sample: Any) -> Any:
    """What `AssociativeEmbeddingHead.predict` does with the maps of one image, no flip test.

    The method itself asserts a list of tensors then, which no backbone of mmpose returns, and
    does not resize the maps as it does with the flip test.
    """
    from mmpose.models.utils.tta import aggregate_heatmaps

    config = model.test_cfg
    size = tuple(sample.metainfo["input_size"]) if config.get("restore_heatmap_size") else None
    aligned = config.get("align_corners", False)
    return model.head.decode(
        tuple(aggregate_heatmaps([maps], size, aligned, mode="average") for maps in outputs)
    )[0]


def instance_maps(model: Any, features: Any) -> tuple[Any, ...]:
    """What `CIDHead` computes that does not depend on the people in the image.

    The logits of the centers, the reduced features, and the two linear layers of its attentions at
    every place.
    """
    features, abstraction, decoupling = features[-1], model.head.iia_module, model.head.gfd_module
    everywhere = features.permute(0, 2, 3, 1)
    attentions = (decoupling.channel_attention, decoupling.spatial_attention)
    vectors = (attention.atn(everywhere).permute(0, 3, 1, 2) for attention in attentions)
    centers = abstraction.keypoint_root_conv(features)[:, -1:]
    return centers, decoupling.conv_down(features), *vectors


def decoupled(model: Any, outputs: tuple[Any, ...], sample: Any) -> Any:
    """`CIDHead.predict` with these outputs in place of those of its layers."""
    import torch

    centers, reduced, channel, spatial = outputs
    head = copy.deepcopy(model.head).to(centers.dtype)  # whose layers are replaced
    width = channel.shape[1]
    head.iia_module.forward = lambda _features: head.iia_module.sigmoid(centers)
    head.gfd_module.conv_down.forward = lambda _features: reduced
    head.gfd_module.channel_attention.atn.forward = lambda vectors: vectors[:, :width]
    head.gfd_module.spatial_attention.atn.forward = lambda vectors: vectors[:, width:]
    # features are read for their vectors at the centers, and for their size
    features = torch.cat([channel, spatial], dim=1)
    return head.predict((features,), [sample], dict(model.test_cfg))[0]


@contextmanager
def other_assignments(seed: int) -> Iterator[None]:
    """Let associative embedding take other assignments of keypoints to people that cost the same.

    Costs are multiples of 100 less a part that is the same for all people, so many are equal;
    which assignment the package munkres returns depends on its version, and on whether it is
    compiled.
    """
    from mmpose.codecs import associative_embedding as module

    exact, rng = module._py_max_match, np.random.default_rng(seed)
    vars(module)["_py_max_match"] = lambda costs: exact(costs + rng.uniform(0, 1e-4, costs.shape))
    try:
        yield
    finally:
        vars(module)["_py_max_match"] = exact


_DETECTIONS = ("dets", "keypoints")

# ---- modify this table to add a kind of head ---------------------------------------------------
# fmt: off
REFERENCE_HEADS: tuple[ReferenceHead, ...] = (
    ReferenceHead("", ("output",), TopDown(last_stage, heatmap_gaps, heatmap_refinement)),
    ReferenceHead("associative-embedding", ("heatmaps", "tags"),
                  Grouping(output_of_head, associated, other_assignments)),
    ReferenceHead("cid", ("centers", "features", "channel", "spatial"),
                  Grouping(instance_maps, decoupled)),
    ReferenceHead("dekr", ("heatmaps", "displacements"), Grouping(output_of_head, predicted)),
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
