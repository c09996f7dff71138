"""All planted defects, and what lies under the limit of detection."""

from __future__ import annotations

from dataclasses import dataclass

from poseconform.defects import Plant, Site
from suites.defects import graph_edits as g
from suites.defects.planting import checkpoint, graph
from suites.defects.table_detections import DETECTIONS
from suites.defects.table_folder import FOLDER, PIPELINE
from suites.defects.table_graph import GRAPH, WEIGHTS, half
from suites.defects.table_session import SESSION

DEFECTS = (*WEIGHTS, *GRAPH, *DETECTIONS, *PIPELINE, *FOLDER, *SESSION)


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
    Limit("one batch norm with twice its epsilon", "it changes less than PyTorch's own rounding",
          Site(("litehrnet_18",)), checkpoint("other_epsilon", 2.0, 1)),
    Limit("one convolution's weights in fp16", "one layer of a deep network: its rounding drowns",
          Site(("hrnet_w32",)), graph(g.weights(half))),
)
# fmt: on
