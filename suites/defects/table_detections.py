"""Defects of models that find the people themselves."""

from __future__ import annotations

from poseconform.planted.defects import Defect, Site
from suites.defects import detection_edits as d
from suites.defects.planting import graph, step

BOTH = ("rtmo_t", "yoloxpose_tiny")
SEVERAL = ("rtmo_t_2_classes", "yoloxpose_tiny_2_classes")

# ---- modify this table to plant another defect in a detector ---------------------------------
# fmt: off
DETECTIONS: tuple[Defect, ...] = (
    Defect("the NMS threshold ignored", "a default in place of the model's test_cfg",
           "graph", "tensors", Site(BOTH), graph(d.threshold("iou", 1.0)),
           "https://github.com/open-mmlab/mmdeploy/issues/2384"),
    Defect("the score threshold ignored", "likewise",
           "graph", "tensors", Site(("yoloxpose_tiny",)),
           graph(d.threshold("score", 0.0)),
           "https://github.com/open-mmlab/mmdeploy/issues/2384"),
    Defect("a score threshold of 0.5", "another model's test_cfg",
           "graph", "tensors", Site(("rtmo_t",)), graph(d.threshold("score", 0.5))),
    Defect("the score multiplied by objectness twice", "a head that has multiplied already",
           "graph", "tensors", Site(("yoloxpose_tiny",)), graph(d.objectness_twice)),
    Defect("classes swapped", "labels that count from another class",
           "graph", "tensors", Site(SEVERAL), graph(d.classes("Sub", 1.0))),
    Defect("the last class for everybody", "an exporter that folds the maximum",
           "graph", "tensors", Site(SEVERAL), graph(d.classes("Max", 1.0))),
    Defect("the class lost", "MMDeploy's graph, which has five columns",
           "graph", "tensors", Site(SEVERAL), graph(d.class_dropped)),
    Defect("boxes that are not clipped", "a post-processing step left out",
           "graph", "tensors", Site(BOTH), graph(d.no_clipping)),
    Defect("stray priors as padding", "rows without a detection that are not zero",
           "graph", "padding", Site(("yoloxpose_tiny",)), graph(d.stray_padding)),
    Defect("boxes as corner and size", "another convention for boxes",
           "graph", "tensors", Site(("yoloxpose_tiny",)), graph(d.corner_and_size)),
    Defect("place for two people only", "a keep_top_k of some other config",
           "graph", "names_and_shapes", Site(BOTH), graph(d.few_rows(2))),
    Defect("priors in (w, h) order", "RTMOHead.switch_to_deploy on an input that is not square",
           "graph", "tensors", Site(("rtmo_t_640x416",)),
           graph(d.transposed_priors((416, 640), (16, 32))),
           "https://github.com/open-mmlab/mmpose/pull/3267"),
    Defect("padding of another color", "black borders for the gray ones of training",
           "pre-processing", "client", Site(BOTH), step("BottomupResize", pad_val=[0, 0, 0])),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
