"""Fitting what a detector reads at one cell: scores, boxes and offsets about people's middles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from posedeploy.synthetic.fitting.convolution import window_of, write
from posedeploy.synthetic.fitting.ridge import Ridge, Solution
from posedeploy.synthetic.fitting.votes import middles
from posedeploy.synthetic.fitting.workbench import Workbench

log = logging.getLogger(__name__)

Values = Callable[["Cells"], torch.Tensor]


@dataclass(frozen=True)
class Cells:
    """The cells of one level of a detector, and the person nearest to each.

    Attributes:
        places: [h, w, 2], where a cell's offsets count from, in input px.
        joints: [N, h, w, 17, 2] in input px, of the nearest person.
        boxes: [N, h, w, 4] in input px, of the same.
        distance: [N, h, w] from that person's middle, in input px.
        stride: In input px.
    """

    places: torch.Tensor
    joints: torch.Tensor
    boxes: torch.Tensor
    distance: torch.Tensor
    stride: float


def cells_of(
    joints: torch.Tensor, boxes: torch.Tensor, shape: tuple[int, int], stride: float
) -> Cells:
    """The cells of a level, for people with joints [N, P, 17, 2] and boxes [N, P, 4], input px."""
    height, width = shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([columns, rows], dim=-1) * stride
    away = (places[:, :, None] - middles(joints)[:, None, None]).norm(dim=-1)  # [N, h, w, P]
    distance, nearest = away.min(dim=-1)
    image = torch.arange(len(joints))[:, None, None]
    return Cells(places, joints[image, nearest], boxes[image, nearest], distance, stride)


def offsets(cells: Cells) -> torch.Tensor:
    """[N, h, w, 34]: x and y of each joint from the cell, in strides, as YOLOX-Pose has them."""
    return ((cells.joints - cells.places[:, :, None]) / cells.stride).flatten(3)


def box_values(cells: Cells) -> torch.Tensor:
    """[N, h, w, 4]: center from the cell in strides, logarithms of width and height in strides.

    YOLOX (Ge et al., 2021, https://arxiv.org/abs/2107.08430) has boxes in this form.
    """
    low, high = cells.boxes[..., :2], cells.boxes[..., 2:]
    center = ((low + high) / 2 - cells.places) / cells.stride
    return torch.cat([center, ((high - low) / cells.stride).log()], dim=-1)


def peaks(cells: Cells, widths: Sequence[float]) -> torch.Tensor:
    """[N, h, w, len(widths)]: Gaussians of peak 1 about people's middles; widths in input px."""
    return torch.exp(-(cells.distance[..., None] / torch.tensor(widths)).square() / 2)


def fit_cells(
    bench: Workbench, layer: str, stride: float, tasks: Sequence[tuple[Values, float, float]]
) -> None:
    """Solve for the first channels of a convolution, in place.

    Args:
        bench: All layers before it are done.
        layer: Path of a convolution or a ConvModule.
        stride: Of its level in input px.
        tasks: What its channels are to put out, in order: values [N, h, w, C] of cells, how near
            to a person's middle a cell must be to count, in input px (0: all cells count), and
            the damping.
    """
    module = bench.model.get_submodule(layer)
    conv: Any = getattr(module, "conv", module)
    norm = module.norm if getattr(module, "with_norm", False) else None
    bench.calibrate(until=conv)
    window, sums, done = window_of(conv), list[Ridge](), 0
    for joints, seen in bench.inputs_of(conv):
        boxes = bench.samples.boxes[done : done + len(joints)]
        done += len(joints)
        cells = cells_of(joints, boxes, window.shape(seen[conv]), stride)
        columns = window.columns(seen[conv])
        wanted = [values(cells).flatten(0, 2) for values, _, _ in tasks]
        sums = sums or [Ridge(columns.shape[1], values.shape[1]) for values in wanted]
        for ridge, values, (_, reach, _) in zip(sums, wanted, tasks, strict=True):
            rows = (cells.distance < (reach or float("inf"))).flatten()
            ridge.add(columns[rows], values[rows], torch.ones(int(rows.sum())))
    solutions = [
        ridge.solve(task[2], steps=bench.steps) for ridge, task in zip(sums, tasks, strict=True)
    ]
    write(conv, norm, window, _joined(solutions))
    if norm is not None:
        bench.fixed.add(norm)
    for solution in solutions:
        log.info("%s: R² %.3f", layer, solution.explained.mean())


def _joined(solutions: Sequence[Solution]) -> Solution:
    """Solutions for the same features, one below the other."""
    return Solution(
        torch.cat([solution.weight for solution in solutions]),
        torch.cat([solution.bias for solution in solutions]),
        torch.cat([solution.mean for solution in solutions]),
        torch.cat([solution.variance for solution in solutions]),
        torch.cat([solution.explained for solution in solutions]),
    )
