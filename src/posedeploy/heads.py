"""Kinds of heads: one row a kind. Everything that differs between kinds derives from its row.

This module imports nothing, so that every room can read it; code is named by dotted paths
('package.module:name') and imported on use, by `load`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Output:
    """One output of a graph.

    Attributes:
        name: Name in the graph and in `pipeline.json`.
        axes: What each axis is: 'N' batch, 'K' keypoints, 'M' people, 'P' priors, 'C' channels,
            'H', 'W', 'Wx', 'Wy' bins, 'D' numbers a keypoint, or a fixed size.
    """

    name: str
    axes: tuple[str | int, ...]

    @property
    def has_peaks(self) -> bool:
        """True for `[N, K, bins …]` with a keypoint at the maximum; False for coordinates."""
        last = self.axes[-1]
        return self.axes[1:-1][:1] == ("K",) and isinstance(last, str) and last != "D"


@dataclass(frozen=True)
class Stage:
    """One place where a graph can end, and what decodes from there.

    Attributes:
        name: 'whole' for top-down models, 'keypoints' where the graph holds the codec's decoding
            too (MMDeploy's `export_postprocess`). Detectors: 'nms' holds everything; 'dense' ends
            before non-maximum suppression; 'raw' ends with what the head's last layers output.
        outputs: Outputs of the graph.
        component: Post-processing component in `pipeline.json`; '' where nothing decodes it.
        decoder: Code that reads the component's parameters into a decoder; '' likewise.
        aliases: Other names of the component, which MMDeploy's client has as well.
        host_weights: Code that writes the file of weights that the decoder needs, of the model,
            the (W, H) of its input and the file's path; '' for none. The decoder then takes the
            folder too. A model that needs none writes no file.
        params: Parameters that tell this stage from others of the same component.
        reads: Names that the component reads the outputs by; () for the outputs' own.
    """

    name: str
    outputs: tuple[Output, ...]
    component: str = ""
    decoder: str = ""
    aliases: tuple[str, ...] = ()
    host_weights: str = ""
    params: tuple[tuple[str, Any], ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the graph's order."""
        return tuple(output.name for output in self.outputs)

    @property
    def read_names(self) -> tuple[str, ...]:
        """Names that the component reads the outputs by, in the graph's order."""
        return self.reads or self.output_names


@dataclass(frozen=True)
class HeadSpec:
    """One kind of head.

    Attributes:
        kind: Name of the kind.
        word: The word for it in the name of a deploy config; '' for heatmap.
        mmpose_heads: MMPose head types of this kind.
        top_down: True if the model takes one person's crop, False if it takes the whole image and
            finds the people itself.
        network: Code that makes the exportable module of a model, its configs and a stage's name.
        stages: Where its graph can end, the whole graph first.
        codecs: MMPose codec types that it can have; none where the head itself decodes.
        predict: Code that stands in for the head's `predict` where mmpose's own stops with an
            error without its flip test; '' where it works.
        multi_stage: Those of `mmpose_heads` whose `forward` gives a list of network stages, of
            which the last counts.
        with_heatmaps: Those whose `forward` gives the output and heatmaps, which are no output.
        unscored: Those whose scores are all 1, so that no graph has to hold the decoding.
    """

    kind: str
    word: str
    mmpose_heads: tuple[str, ...]
    top_down: bool
    network: str
    stages: tuple[Stage, ...]
    codecs: tuple[str, ...] = ()
    multi_stage: tuple[str, ...] = ()
    with_heatmaps: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    predict: str = ""

    @property
    def bottom_up(self) -> bool:
        """True if the model takes the whole image and finds the people itself."""
        return not self.top_down

    @property
    def groups(self) -> bool:
        """True if its graph ends with maps, and the host puts people together of them."""
        return self.bottom_up and bool(self.codecs)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Outputs of the whole graph."""
        return self.stages[0].outputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs of the whole graph."""
        return self.stages[0].output_names

    @property
    def whole_stages(self) -> tuple[Stage, ...]:
        """Stages whose outputs a deploy config names: the whole graph, and its keypoints."""
        return tuple(s for i, s in enumerate(self.stages) if i == 0 or s.name == KEYPOINTS)

    def stage(self, name: str) -> Stage:
        """The stage of this name.

        Raises:
            KeyError: This kind has no such stage; the message lists those there are.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        names = ", ".join(stage.name for stage in self.stages)
        raise KeyError(f"{self.kind} models have no stage {name!r}; there are: {names}")

    def stage_for(self, wanted: Sequence[str]) -> Stage:
        """The first of the wanted stages that can be decoded here, else the whole graph."""
        for name in wanted:
            for stage in self.stages:
                if stage.name == name and stage.component:
                    return stage
        return self.stages[0]


KEYPOINTS = "keypoints"  # name of the stage of a top-down model that holds the decoding too
# MMDeploy's client maps what it reads as `simcc_x [N, K, 2]` (input px) and `simcc_y [N, K]` to
# the image where `export_postprocess` is set (mmdeploy 1.3.1, csrc/mmdeploy/codebase/mmpose/
# simcc_label.cpp): it does not matter which head they come from.
_KEYPOINTS_STAGE = Stage(
    KEYPOINTS, (Output("keypoints", ("N", "K", 2)), Output("scores", ("N", "K"))),
    "SimCCLabelDecode", "posedeploy.sdk.decode.keypoints:keypoints_decoder",
    params=(("export_postprocess", True),), reads=("simcc_x", "simcc_y"),
)  # fmt: skip


def _detector(kind: str, head: str, network: str, component: str, raw: Stage) -> HeadSpec:
    """The row of a detector like YOLOX-Pose: only its last layers differ from the others'.

    With several classes `dets` has a sixth column, the class; C is 1 with one class.
    """
    nms = Stage(
        "nms",
        (Output("dets", ("N", "M", 5)), Output("keypoints", ("N", "M", "K", 3))),
        component, "posedeploy.sdk.decode.detections:detections_decoder",
    )  # fmt: skip
    dense = Stage(
        "dense",
        (Output("boxes", ("N", "P", 4)), Output("scores", ("N", "P", "C")),
         Output("keypoints", ("N", "P", "K", 3))),
        "YOLOXPoseHostDetections", "posedeploy.sdk.decode.detections:dense_decoder",
    )  # fmt: skip
    return HeadSpec(kind, kind, (head,), False, network, (nms, dense, raw))


# ---- modify this table to add a kind of head -----------------------------------------------
HEADS: tuple[HeadSpec, ...] = (
    HeadSpec(
        "associative-embedding", "associative-embedding", ("AssociativeEmbeddingHead",), False,
        "posedeploy.export.associative_embedding:AssociativeEmbeddingNetwork",
        (Stage(
            "whole",
            (Output("heatmaps", ("N", "K", "H", "W")), Output("tags", ("N", "C", "H", "W"))),
            "AssociativeEmbeddingDecode",
            "posedeploy.sdk.decode.associative_embedding:associative_embedding_decoder",
        ),),
        codecs=("AssociativeEmbedding",),
        predict="posedeploy.zoo.associative_embedding:predict",
    ),
    HeadSpec(
        "cid", "cid", ("CIDHead",), False, "posedeploy.export.cid:CidNetwork",
        (Stage(
            "whole",
            (Output("centers", ("N", 1, "H", "W")), Output("features", ("N", "C", "H", "W")),
             Output("channel", ("N", "C", "H", "W")), Output("spatial", ("N", "C", "H", "W"))),
            "CIDDecode", "posedeploy.sdk.decode.cid:cid_decoder",
            host_weights="posedeploy.export.cid:write_decoupling",
        ),),
        codecs=("DecoupledHeatmap",),
    ),
    HeadSpec(
        "dekr", "dekr", ("DEKRHead",), False, "posedeploy.export.dekr:DekrNetwork",
        (Stage(
            "whole",
            (Output("heatmaps", ("N", "C", "H", "W")),
             Output("displacements", ("N", "C", "H", "W"))),
            "DEKRDecode", "posedeploy.sdk.decode.dekr:dekr_decoder",
            host_weights="posedeploy.export.dekr:write_rescore_net",
        ),),
        codecs=("SPR",),
    ),
    HeadSpec(
        "heatmap", "", ("CPMHead", "HeatmapHead", "MSPNHead", "ViPNASHead"), True,
        "posedeploy.export.networks:HeatmapNetwork",
        (Stage(
            "whole", (Output("output", ("N", "K", "H", "W")),),
            "TopdownHeatmapSimpleHeadDecode", "posedeploy.sdk.decode.heatmap:heatmap_decoder",
            aliases=(
                "TopdownHeatmapBaseHeadDecode", "TopdownHeatmapMSMUHeadDecode",
                "TopdownHeatmapMultiStageHeadDecode", "ViPNASHeatmapSimpleHeadDecode",
            ),
        ), _KEYPOINTS_STAGE),
        codecs=("MSRAHeatmap", "MegviiHeatmap", "UDPHeatmap"),
        multi_stage=("CPMHead", "MSPNHead"),
    ),
    HeadSpec(
        "regression", "regression",
        ("DSNTHead", "IntegralRegressionHead", "RLEHead", "RegressionHead"), True,
        "posedeploy.export.regression:regression_network",
        (Stage(
            "whole", (Output("output", ("N", "K", "D")),),
            "DeepposeRegressionHeadDecode",
            "posedeploy.sdk.decode.regression:regression_decoder",
        ), _KEYPOINTS_STAGE),
        codecs=("IntegralRegressionLabel", "RegressionLabel"),
        with_heatmaps=("DSNTHead", "IntegralRegressionHead"),
        unscored=("DSNTHead", "IntegralRegressionHead", "RegressionHead"),
    ),
    _detector(
        "rtmo", "RTMOHead", "posedeploy.export.networks:RtmoNetwork", "RTMODetections",
        Stage(
            "raw",
            (Output("cls", ("N", "P", "C")), Output("bbox", ("N", "P", 4)),
             Output("kpt_vis", ("N", "P", "K")), Output("pose_vec", ("N", "P", "C"))),
            "RTMOHostDetections", "posedeploy.sdk.decode.detections:raw_rtmo_decoder",
            host_weights="posedeploy.export.pose_decoder_weights:write_pose_decoder",
        ),
    ),
    HeadSpec(
        "simcc", "simcc", ("RTMCCHead", "RTMWHead", "SimCCHead"), True,
        "posedeploy.export.networks:SimccNetwork",
        (Stage(
            "whole",
            (Output("simcc_x", ("N", "K", "Wx")), Output("simcc_y", ("N", "K", "Wy"))),
            "SimCCLabelDecode", "posedeploy.sdk.decode.simcc:simcc_decoder",
        ), _KEYPOINTS_STAGE),
        codecs=("SimCCLabel",),
    ),
    HeadSpec(
        "visibility", "vis", ("VisPredictHead",), True,
        "posedeploy.export.networks:VisibilityNetwork",
        # MMDeploy's client decodes the heatmaps, and leaves the other output where it is
        (Stage(
            "whole",
            (Output("output", ("N", "K", "H", "W")), Output("visibility", ("N", "K"))),
            "TopdownHeatmapSimpleHeadDecode",
            "posedeploy.sdk.decode.visibility:visibility_decoder",
            params=(("visibility", True),),
        ),),
        codecs=("MSRAHeatmap", "MegviiHeatmap", "UDPHeatmap"),
    ),
    _detector(
        "yolox-pose", "YOLOXPoseHead", "posedeploy.export.networks:YoloxPoseNetwork",
        "YOLOXPoseDetections",
        Stage(
            "raw",
            (Output("cls", ("N", "P", "C")), Output("obj", ("N", "P", 1)),
             Output("bbox", ("N", "P", 4)), Output("kpt_offset", ("N", "P", "C")),
             Output("kpt_vis", ("N", "P", "K"))),
        ),
    ),
)  # fmt: skip
# --------------------------------------------------------------------------------------------


def head_words() -> tuple[str, ...]:
    """The words of all kinds in the names of deploy configs, '' among them."""
    return tuple(head.word for head in HEADS)


def head_of_kind(kind: str) -> HeadSpec:
    """The row of a kind; `KeyError` if there is none."""
    return {head.kind: head for head in HEADS}[kind]


def head_of_word(word: str) -> HeadSpec:
    """The row of a word in the names of deploy configs, '' for heatmap; `KeyError` if none."""
    return {head.word: head for head in HEADS}[word]


def head_of_mmpose(head_type: str) -> HeadSpec | None:
    """The row of an MMPose head type, None where there is none."""
    return next((head for head in HEADS if head_type in head.mmpose_heads), None)


# Heads of mmpose that have no row -> why, and what else there is
NOT_SUPPORTED: Mapping[str, str] = {
    "EDPoseHead": "EDPose is not supported: it attends by MultiScaleDeformableAttention, an "
    "operator of the compiled mmcv for which there is no export. RTMO and YOLOX-Pose find people "
    "in one stage too.",
}


def head_of_outputs(names: Collection[str], word: str | None = None) -> HeadSpec | None:
    """The kind whose whole graph has outputs of these names, None where there is none.

    Detectors share theirs, heatmap and regression models, and graphs that end with keypoints:
    there `word` decides. Without it heatmap models count, which have none, or the last kind.
    """
    heads = [h for h in HEADS if any(set(s.output_names) == set(names) for s in h.whole_stages)]
    named = [head for head in heads if head.word == (word or "")]
    return (named or heads)[-1] if heads else None


def component_names() -> tuple[str, ...]:
    """Names of all post-processing components, aliases among them, sorted."""
    stages = [stage for head in HEADS for stage in head.stages if stage.component]
    return tuple(sorted({name for s in stages for name in (s.component, *s.aliases)}))


def stage_of_component(component: str, params: Mapping[str, Any]) -> tuple[HeadSpec, Stage]:
    """The first row, and its stage, that a component with these parameters decodes.

    Raises:
        KeyError: No row has the component.
    """
    fits = [
        (head, stage)
        for head in HEADS
        for stage in head.stages
        if component
        and component in {stage.component, *stage.aliases}
        and all(params.get(name) is value for name, value in stage.params)
    ]
    if not fits:
        raise KeyError(component)
    return max(fits, key=lambda fit: len(fit[1].params))  # of several equal ones the first


def load(path: str) -> Any:
    """What a dotted path 'package.module:name' stands for."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
