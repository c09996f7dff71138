"""Where a codec puts the cells of its heatmaps, found by asking it."""

from __future__ import annotations

from typing import Any

import numpy as np


def cell_offset(codec: Any, heatmap_size: tuple[int, int]) -> float:
    """The center of cell 0, in cells from the input's first pixel; 0 or 0.5 with mmpose's codecs.

    A heatmap with one symmetric peak is decoded: whatever the codec adds shows.

    Args:
        codec: An mmpose heatmap codec.
        heatmap_size: (w, h) in cells.
    """
    width, height = heatmap_size
    x, y = width // 2, height // 2
    columns, rows = np.arange(width) - x, np.arange(height) - y
    peak = np.exp(-(rows[:, None] ** 2 + columns**2) / 8.0)[None].astype(np.float32)
    keypoints, _ = codec.decode(peak)
    stride = codec.input_size[0] / width
    return float(keypoints[0, 0, 0] / stride - x)
