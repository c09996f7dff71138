"""What MMPose's codecs write, our decoders read: within half a bin, for every codec there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posedeploy import compat
from posedeploy.sdk.decode import compile_decoder
from posedeploy.sdk.fields import Node

pytestmark = [
    pytest.mark.filterwarnings("ignore:Passing more than 2 positional:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Fail to import:UserWarning:mmcv"),
]
SIZE, CELLS = (192, 256), (48, 64)  # width, height: input px, heatmap cells
KEYPOINTS = 5
HEATMAP, SIMCC = "TopdownHeatmapSimpleHeadDecode", "SimCCLabelDecode"


@dataclass(frozen=True)
class Codec:
    """One codec.

    Attributes:
        kind: Class in `mmpose.codecs`.
        arguments: Its arguments besides the input's size.
        component: Our decoder.
        bin: Size of a bin, input px.
        margin: Least distance of a keypoint from the border, input px: the refinement of a peak
            reads its neighbors, and Megvii's kernel the cells beyond them.
        words: Fields of `pipeline.json` besides type and arguments.
    """

    kind: str
    arguments: Mapping[str, Any]
    component: str
    bin: tuple[float, float]
    margin: float
    words: Mapping[str, Any]


_CELL = (SIZE[0] / CELLS[0], SIZE[1] / CELLS[1])
_UDP_CELL = ((SIZE[0] - 1) / (CELLS[0] - 1), (SIZE[1] - 1) / (CELLS[1] - 1))
_MAPS = {"heatmap_size": CELLS}
_COMBINED = {**_MAPS, "heatmap_type": "combined", "radius_factor": 0.1, "blur_kernel_size": 5}
_SIMCC = {"simcc_split_ratio": 2.0, "sigma": (4.9, 5.66)}
_PLAIN = {"export_postprocess": False}
# fmt: off
CODECS: Mapping[str, Codec] = {
    "Megvii":         Codec("MegviiHeatmap", {**_MAPS, "kernel_size": 11}, HEATMAP, _CELL, 32,
                            {"post_process": "megvii"}),
    "MSRA":           Codec("MSRAHeatmap", {**_MAPS, "sigma": 2}, HEATMAP, _CELL, 8,
                            {"post_process": "default"}),
    "MSRA, unbiased": Codec("MSRAHeatmap", {**_MAPS, "sigma": 2, "unbiased": True}, HEATMAP,
                            _CELL, 32, {"post_process": "unbiased"}),
    "SimCC":          Codec("SimCCLabel", _SIMCC, SIMCC, (0.5, 0.5), 2, _PLAIN),
    "SimCC, ratio 3": Codec("SimCCLabel", {**_SIMCC, "simcc_split_ratio": 3.0}, SIMCC,
                            (1 / 3, 1 / 3), 2, _PLAIN),
    "SimCC, DARK":    Codec("SimCCLabel", {**_SIMCC, "use_dark": True}, SIMCC, (0.5, 0.5), 48,
                            _PLAIN),
    "UDP":            Codec("UDPHeatmap", {**_MAPS, "sigma": 2}, HEATMAP, _UDP_CELL, 32, {}),
    "UDP, combined":  Codec("UDPHeatmap", _COMBINED, HEATMAP, _UDP_CELL, 32, {}),
}
# fmt: on


@st.composite
def points(draw: st.DrawFn, margin: float) -> np.ndarray[Any, Any]:
    """Keypoints `[1, K, 2]` input px, at least `margin` px inside, on and between bins."""
    axes = [st.floats(margin, side - 1 - margin, width=32) for side in SIZE]
    rows = draw(st.lists(st.tuples(*axes), min_size=KEYPOINTS, max_size=KEYPOINTS))
    step = draw(st.sampled_from([0.0, 0.5, 4.0]))
    encoded = np.asarray([rows], np.float32)
    return encoded if step == 0 else np.round(encoded / step) * np.float32(step)


def encode(codec: Any, keypoints: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What a perfect network would put out."""
    visible = np.ones(keypoints.shape[:2], np.float32)
    encoded = codec.encode(keypoints.copy(), visible)
    if "keypoint_x_labels" in encoded:
        return {f"simcc_{axis}": encoded[f"keypoint_{axis}_labels"] for axis in "xy"}
    return {"output": encoded["heatmaps"][None]}


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_what_a_codec_writes_is_read_within_half_a_bin(name: str, data: st.DataObject) -> None:
    compat.install()
    from mmpose import codecs

    row = CODECS[name]
    keypoints = data.draw(points(row.margin))
    codec = getattr(codecs, row.kind)(SIZE, **row.arguments)
    params = {"type": row.kind, "input_size": list(SIZE), **row.arguments, **row.words}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}
    decoder = compile_decoder(row.component, Node(plain, "pipeline.json", "$"), SIZE)
    decoded = decoder.decode(encode(codec, keypoints))
    off = np.abs(decoded.points[0] - keypoints[0]) / row.bin
    assert off.max() <= 0.5 + 1e-4, f"{off.max():.3f} bins"


def test_every_codec_of_the_zoo_is_here() -> None:
    from posedeploy.config import load_model_config
    from posedeploy.zoo.table import config_path, models_of

    used = {load_model_config(config_path(row)).codec["type"] for row in models_of(["all"])}
    no_bins = {"YOLOXPoseAnnotationProcessor"}  # the head itself puts out coordinates
    assert used - no_bins <= {row.kind for row in CODECS.values()}
