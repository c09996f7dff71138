"""Fitting a cross stage partial layer: every convolution of it refines the maps that come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posedeploy.synthetic.fitting.workbench import Maps, Stage


def csp_stages(
    path: str,
    entrance: Maps,
    blocks: Sequence[Maps],
    final: Maps,
    *,
    keep: float = 1.0,
    residual: bool = True,
) -> Iterator[Stage]:
    """The stages of a `CSPLayer` of Darknet bottlenecks.

    With the last convolution alone fitted, much of what comes in is lost: before it, two random
    1x1 convolutions halve the channels.

    Args:
        path: Of the layer.
        entrance: What both 1x1 convolutions at its entrance put out.
        blocks: What each bottleneck puts out.
        final: What the layer puts out.
        keep: See `Stage`.
        residual: True if its bottlenecks add their input; else the 1x1 convolution at a
            bottleneck's entrance is fitted as well, for nothing else lets the maps through.
    """
    yield Stage(f"{path}.short_conv", entrance, keep=keep)
    yield Stage(f"{path}.main_conv", entrance, keep=keep)
    for index, maps in enumerate(blocks):
        block = f"{path}.blocks.{index}"
        if not residual:
            yield Stage(f"{block}.conv1", entrance, keep=keep)
        identity = block if residual else ""
        yield Stage(f"{block}.conv2", maps, identity=identity, keep=keep)
    yield Stage(f"{path}.final_conv", final, keep=keep)
