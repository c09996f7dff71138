"""Graphs of detectors that end before non-maximum suppression, for backends that cannot hold it.

Where the outputs of a graph are among those below, mmpose's own head goes on from them
(`host_detections`), and what it finds is judged as if the graph had found it: the host-side stage
of the toolchain has no part in that verdict.  That stage is judged through the SDK client, which
runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DENSE = frozenset({"boxes", "scores", "keypoints"})
# Variant -> sets of outputs: decoded candidates, or what the head's last layers put out.  The
# order is the backend's.
UNFINISHED: Mapping[str, tuple[frozenset[str], ...]] = {
    "rtmo": (_DENSE, frozenset({"cls", "bbox", "kpt_vis", "pose_vec"})),
    "yolox-pose": (_DENSE, frozenset({"cls", "obj", "bbox", "kpt_offset", "kpt_vis"})),
}


def is_unfinished(variant: str, outputs: Iterable[str]) -> bool:
    """True if a graph with these outputs leaves suppression to the host."""
    return frozenset(outputs) in UNFINISHED.get(variant, ())


def pad_rows(parts: Mapping[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    """Arrays `[N, M, ...]` with zero rows after the M, up to `rows`."""
    padded = {}
    for name, array in parts.items():
        widths = [(0, 0), (0, rows - array.shape[1]), *([(0, 0)] * (array.ndim - 2))]
        padded[name] = np.pad(array, widths)
    return padded
