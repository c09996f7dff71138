"""RTMO's dynamic coordinate classifier as a file of arrays, for hosts that decode themselves.

ncnn takes seconds to decode all priors of an image; a host with these weights takes milliseconds
for the few that survive suppression. Batch norm is folded into the linear layer before it.
`posedeploy.sdk.decode.detections` reads the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posedeploy.errors import ConversionError
from posedeploy.export.detection import priors


def write_pose_decoder(model: Any, input_size: tuple[int, int], path: Path) -> None:
    """Write the DCC of a model's `RTMOHead` and its priors as an `.npz` of float32 arrays.

    `input_size` is W, H px.

    Raises:
        ConversionError: The DCC is of a kind that the host cannot compute.
    """
    points, strides = priors(model.head, input_size)
    arrays = pose_decoder_arrays(model.head) | {
        "points": points.numpy(),
        "strides": strides.numpy(),
    }
    ready: dict[str, Any] = {n: np.ascontiguousarray(a, np.float32) for n, a in arrays.items()}
    np.savez(path, **ready)


def pose_decoder_arrays(head: Any) -> dict[str, NDArray[np.float32]]:
    """The arrays by name; matrices are [out, in], as PyTorch has them."""
    dcc = head.dcc
    _check(dcc)
    linear, norm = dcc.pose_to_kpts
    with torch.no_grad():
        gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = linear.weight.double() * gain.unsqueeze(1)
        bias = norm.bias.double() + (linear.bias.double() - norm.running_mean.double()) * gain
        gau = dcc.gau
        tensors = {
            "pose_weight": weight, "pose_bias": bias,
            # their biases move all bins alike, which the softmax takes away again
            "x_weight": dcc.x_fc.weight, "y_weight": dcc.y_fc.weight,
            "x_bins": dcc.x_bins, "y_bins": dcc.y_bins, "periods": dcc.spe.dim_t,
            "uv_weight": gau.uv.weight, "gamma": gau.gamma, "beta": gau.beta,
            "out_weight": gau.o.weight, "shortcut": gau.res_scale.scale, "position": dcc.pos_enc,
            "norm_gain": gau.ln.g, "norm_scale": torch.tensor([gau.ln.scale, gau.ln.eps]),
            "box_padding": torch.tensor([float(head.bbox_padding)]),
        }  # fmt: skip
        return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}


def _check(dcc: Any) -> None:
    """Check what the host's decoder assumes, and every RTMO config of mmpose has."""
    gau = getattr(dcc, "gau", None)
    fits = (
        gau is not None
        and gau.pos_enc == "add"
        and gau.shortcut
        and type(gau.ln).__name__ == "ScaleNorm"
        and type(gau.act_fn).__name__ == "SiLU"
        and gau.uv.bias is None
        and gau.o.bias is None
        and dcc.spe.spatial_dim == 1
    )
    if not fits:
        raise ConversionError(
            "export", "the pose decoder of this RTMO", str(dcc.gau_cfg),
            "a gated attention unit with SiLU, additive positions, no bias and a shortcut",
            "Choose a backend whose graph holds the whole detector.",
        )  # fmt: skip
