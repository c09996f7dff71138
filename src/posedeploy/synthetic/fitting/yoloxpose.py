"""YOLOX-Pose on CSPDarknet: joints vote for their person's middle, where one level detects it.

The middle level (stride 16) finds everybody; the figures of the drawn data set differ in size by
less than two.  The other two levels stay random and never reach the score threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from posedeploy.config import ModelConfig
from posedeploy.synthetic.calibration import aim_detector
from posedeploy.synthetic.conditioning import CONDITIONING, initialize
from posedeploy.synthetic.fitting.cells import Cells, box_values, fit_cells, offsets, peaks
from posedeploy.synthetic.fitting.colors import construct_focus
from posedeploy.synthetic.fitting.csp import csp_stages
from posedeploy.synthetic.fitting.plan import Plan
from posedeploy.synthetic.fitting.ridge import on_grid
from posedeploy.synthetic.fitting.samples import Samples
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.votes import VoteMaps, mean_places
from posedeploy.synthetic.fitting.workbench import Stage, Workbench

LEVEL = 1
STRIDE = 16.0
_EARLY = 64  # images for the layers up to stride 8, which have many positions in each
_CHUNK = 8
_REACH = 24.0  # px; cells as near as that to a middle put boxes and joints out
_PEAKS = (12.0, 18.0, 26.0, 40.0)  # widths of the maps that scores are read from, px
_SCORE, _SCORE_RANGE = -6.0, 12.0  # logit away from people, and how much higher at their middle
_SCORE_WIDTH = 16.0  # px
_LIFT, _GAIN = 10.0, 2.5  # the swish is nearly linear above 3: offsets, in strides, go there
_SILENT = -8.0  # logit of the levels that do not detect
# Weights go on the grid of int8 while layers are fitted. A layer that widens its maps sums up over
# many cells, and the mean of their moments with them: rounding a layer's weights afterwards moves
# that mean, and later layers take it for joints that are elsewhere.
_STEPS = 127
_FEATURES = 64.0  # the input_std with which `initialize` leaves a first layer as it is
_VISIBLE = 3.0  # logit; all joints of drawn figures are

_TINY, _SMALL, _FINE = JointMaps((5.0,)), JointMaps((6.0,)), JointMaps((8.0,))
_MIDDLE = JointMaps((10.0,), moments=True, lift=1.0)
_COARSE = JointMaps((14.0, 22.0, 34.0), moments=True, lift=1.0)


def _early() -> Iterator[Stage]:
    yield Stage("backbone.stage1.0", _TINY, keep=0.1)
    yield from csp_stages("backbone.stage1.1", _SMALL, [_SMALL], _SMALL, keep=0.15)
    yield Stage("backbone.stage2.0", _FINE, keep=0.3)
    yield from csp_stages("backbone.stage2.1", _MIDDLE, [_MIDDLE] * 3, _MIDDLE, keep=0.4)


def _late(places: torch.Tensor) -> Iterator[Stage]:
    """Stride 16: backbone, and the neck's way to its middle output."""

    def votes(way: float, *widths: float) -> VoteMaps:
        return VoteMaps(places, way, widths)

    start = votes(0.0, 16.0, 26.0)
    yield Stage("backbone.stage3.0", _COARSE)
    yield from csp_stages("backbone.stage3.1", start, [start] * 3, _COARSE)
    yield from csp_stages(
        "neck.top_down_blocks.0", start, [votes(0.2, 20.0, 30.0)],
        votes(0.15, 18.0, 24.0, 30.0, 36.0), residual=False,
    )  # fmt: skip
    reduced = votes(0.15, 20.0, 32.0)
    yield Stage("neck.reduce_layers.1", reduced)
    yield from csp_stages(
        "neck.bottom_up_blocks.0", reduced, [votes(0.4, 22.0, 34.0)],
        votes(0.4, 22.0, 26.0, 30.0, 36.0), residual=False,
    )  # fmt: skip
    yield Stage(f"neck.out_convs.{LEVEL}", votes(0.4, 22.0, 34.0))


def _finish(bench: Workbench, model_config: ModelConfig) -> None:
    model, samples = bench.model, bench.samples
    early = Workbench(model, _first(samples, _EARLY), fixed=bench.fixed, steps=_STEPS)
    stem = model.backbone.stem
    construct_focus(stem)
    _put_on_grid(model)
    early.fixed.add(stem.conv.norm)
    for stage in _early():
        early.fit(stage)
    trunk = _Trunk(model)
    behind = Workbench(
        trunk, _behind(samples, trunk.entrance), fixed=bench.fixed, size=samples.size, steps=_STEPS
    )
    places = mean_places(samples.joints)
    for stage in _late(places):
        behind.fit(stage)
    behind.calibrate()
    bench.calibrate()
    aim_detector(model, samples.inputs[: bench.calibration], model_config.input_size)
    features = _behind(behind.samples, lambda inputs: trunk.extract_feat(inputs)[LEVEL])
    level = Workbench(_Level(model), features, fixed=bench.fixed, size=samples.size, steps=_STEPS)
    _fit_joints(level, places)
    _fit_boxes_and_scores(level, places)
    _silence(model.head.head_module)


def _fit_joints(bench: Workbench, places: torch.Tensor) -> None:
    for index, way in enumerate((0.65, 0.85, 1.0)):
        bench.fit(Stage(f"pose.{index}", VoteMaps(places, way, (24.0, 38.0)), damping=3e-3))
    means = (places / STRIDE).flatten()

    def lifted(cells: Cells) -> torch.Tensor:
        return (offsets(cells) - means) * _GAIN + _LIFT

    fit_cells(bench, "pose.3", STRIDE, [(lifted, _REACH, 3e-3)])
    fit_cells(bench, "out_kpt", STRIDE, [(offsets, _REACH, 1e-4)])
    visible = bench.model.out_kpt_vis
    visible.weight.mul_(0.3)
    visible.bias.fill_(_VISIBLE)


def _fit_boxes_and_scores(bench: Workbench, places: torch.Tensor) -> None:
    def maps(cells: Cells) -> torch.Tensor:
        return 10 * peaks(cells, _PEAKS)

    def boxes(cells: Cells) -> torch.Tensor:
        return box_values(cells) * torch.tensor([2.0, 2.0, 5.0, 5.0]) + _LIFT

    def score(cells: Cells) -> torch.Tensor:
        return _SCORE + _SCORE_RANGE * peaks(cells, (_SCORE_WIDTH,))

    for branch in ("cls", "reg"):
        bench.fit(Stage(f"{branch}.0", VoteMaps(places, 0.75, (24.0, 38.0)), damping=3e-3))
    fit_cells(bench, "cls.1", STRIDE, [(maps, 0, 3e-3)])
    fit_cells(bench, "reg.1", STRIDE, [(maps, 0, 3e-3), (boxes, _REACH, 3e-3)])
    fit_cells(bench, "out_cls", STRIDE, [(score, 0, 1e-3)])
    fit_cells(bench, "out_obj", STRIDE, [(score, 0, 1e-3)])
    fit_cells(bench, "out_bbox", STRIDE, [(box_values, _REACH, 1e-4)])


def _silence(head_module: Any) -> None:
    """Scores of the other levels: far below the threshold, and still the image's."""
    for layers in (head_module.out_cls, head_module.out_obj):
        for index, layer in enumerate(layers):
            if index != LEVEL:
                layer.weight.mul_(0.1)
                layer.bias.fill_(_SILENT)


class _Trunk(nn.Module):
    """A model whose inputs are what stage 2 puts out, and which ends with the neck."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = model.backbone, model.neck, nn.Identity()

    def entrance(self, inputs: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] → what stage 2 puts out, [N, C, H/8, W/8]."""
        stages: Any = self.backbone
        return stages.stage2(stages.stage1(stages.stem(inputs)))  # type: ignore[no-any-return]

    def extract_feat(self, inputs: torch.Tensor) -> Any:
        stages: Any = self.backbone
        coarse = stages.stage3(inputs)
        return self.neck((inputs, coarse, stages.stage4(coarse)))


class _Level(nn.Module):
    """A model whose inputs are what the neck puts out at one level, with that level's layers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        parts = model.head.head_module
        for name in ("cls", "reg", "pose"):
            self.add_module(name, getattr(parts, f"conv_{name}")[LEVEL])
        for name in ("out_cls", "out_obj", "out_bbox", "out_kpt", "out_kpt_vis"):
            self.add_module(name, getattr(parts, name)[LEVEL])

    @property
    def head(self) -> Any:
        return self

    def extract_feat(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    def forward(self, inputs: torch.Tensor) -> None:
        for branch, outputs in (
            ("cls", ["out_cls"]),
            ("reg", ["out_obj", "out_bbox"]),
            ("pose", ["out_kpt", "out_kpt_vis"]),
        ):
            seen = self.get_submodule(branch)(inputs)
            for name in outputs:
                self.get_submodule(name)(seen)


def _first(samples: Samples, count: int) -> Samples:
    return replace(
        samples,
        inputs=samples.inputs[:count],
        joints=samples.joints[:count],
        boxes=samples.boxes[:count],
    )


def _behind(samples: Samples, part: Any) -> Samples:
    """The samples with what a part of the model makes of their inputs, in their place."""
    seen = [part(inputs) for inputs in torch.split(samples.inputs, _CHUNK)]
    return replace(samples, inputs=torch.cat(seen))


def _put_on_grid(model: Any) -> None:
    """Round what stays random as well: its features are what fitted layers are fitted to."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(on_grid(module.weight, _STEPS))


def _prepare(model: Any) -> None:
    """Condition the silent levels' branches as calibrated weights are.

    Four smooth random kernels in a row make values so far apart that int8 has no steps for most.
    """
    parts = model.head.head_module
    for name in ("conv_cls", "conv_reg", "conv_pose"):
        for index, branch in enumerate(getattr(parts, name)):
            if index != LEVEL:
                initialize(branch, CONDITIONING["CSPDarknet"], index, _FEATURES)


def _stages(_model: Any) -> Sequence[Stage]:
    return ()  # `_finish` fits them, in three parts that each start where the last one ended


PLAN = Plan(images=150, people=2, prepare=_prepare, stages=_stages, finish=_finish, levels=255)
