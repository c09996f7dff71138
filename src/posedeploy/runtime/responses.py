"""Whether the outputs of a graph mean anything: finite, not constant, different for other images.

Two implementations that both compute nothing agree perfectly, so this is asked before they are
compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Freshly initialized networks give the same peak for every image (SimCC: all of them,
# RTMPose: 94 %); calibrated ones at most 6 %.  Half is far from both.
MOST_SAME_ARGMAX = 0.5


def response_fault(
    values: NDArray[np.floating], images: NDArray[np.intp], *, peaks: bool = False
) -> str:
    """What is wrong with an output `[R, ...]` of the images `[R]`; '' if nothing is.

    `peaks` says that the output is `[R, K, ...]` with a keypoint at the maximum of each row.
    """
    bad = int((~np.isfinite(values)).sum())
    if bad:
        return f"{bad} of {values.size} values are not finite"
    first = np.stack([values[images == image][0] for image in np.unique(images)])
    if first.size and np.ptp(first) == 0:
        return f"constant ({first.flat[0]:g})"
    if len(first) > 1 and (first == first[:1]).all():
        return "the same for every image"
    if peaks and (same := same_argmax_fraction(first)) > MOST_SAME_ARGMAX:
        return (
            f"{same:.0%} of the keypoints have the same peak in every image; "
            f"expected at most {MOST_SAME_ARGMAX:.0%}"
        )
    return ""


def same_argmax_fraction(output: NDArray[np.floating]) -> float:
    """Fraction of keypoints whose peak in `[N, K, ...]` lies at one index in every image.

    1.0 means that the output does not depend on the image.
    """
    flat = output.reshape(output.shape[0], output.shape[1], -1).argmax(axis=-1)
    return float((flat == flat[:1]).all(axis=0).mean())
