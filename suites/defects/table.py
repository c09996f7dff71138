"""All planted defects, and what lies under the limit of detection."""

from __future__ import annotations

from dataclasses import dataclass

from poseconform.planted.defects import Plant, Site
from suites.defects import graph_edits as g
from suites.defects.planting import checkpoint, graph
from suites.defects.table_detections import DETECTIONS
from suites.defects.table_folder import FOLDER, PIPELINE
from suites.defects.table_graph import GRAPH, WEIGHTS, half_a_channel
from suites.defects.table_grouping import GROUPING
from suites.defects.table_keypoints import KEYPOINTS
from suites.defects.table_precision import PRECISION
from suites.defects.table_regression import REGRESSION
from suites.defects.table_session import SESSION
from suites.defects.table_visibility import VISIBILITY

DEFECTS = (
    *WEIGHTS, *GRAPH, *DETECTIONS, *GROUPING, *KEYPOINTS, *PIPELINE, *FOLDER, *REGRESSION,
    *SESSION, *PRECISION, *VISIBILITY,
)  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """A change that no check can tell from rounding.

    Attributes:
        name: What was changed.
        reason: Why nothing can be done about it.
        site: One good cell.
        plant: How.
    """

    name: str
    reason: str
    site: Site
    plant: Plant


# fmt: off
LIMITS: tuple[Limit, ...] = (
    Limit("one batch norm with twice its epsilon, in LiteHRNet",
          "it changes less than PyTorch's own rounding",
          Site(("litehrnet_18",)), checkpoint("other_epsilon", 2.0, 1)),
    Limit("one channel of one convolution in fp16", "a few of a million weights, by 2^-12 each",
          Site(("mspn50",)), graph(g.weights(half_a_channel))),
    Limit("images brighter by a millionth", "less than the input's own rounding",
          Site(("simcc_mobilenetv2",)), graph(g.brighter)),
)
# fmt: on
