"""Fitting one layer after another: calibrate what lies before it, watch its input, solve."""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from posedeploy.synthetic.fitting.convolution import window_of, write
from posedeploy.synthetic.fitting.ridge import Ridge
from posedeploy.synthetic.fitting.targets import JOINT_COUNT
from posedeploy.synthetic.samples import Samples

log = logging.getLogger(__name__)
_CHUNK = 8  # images a run, so that memory stays small
_FOREGROUND = 0.05  # of a map's scale: positions above it always count


class Maps(Protocol):
    """Target channels of a layer; the first 17 are a map a joint. See `targets.JointMaps`."""

    @property
    def channels(self) -> int: ...

    @property
    def scale(self) -> float: ...

    def draw(
        self, joints: torch.Tensor, shape: tuple[int, int], size: tuple[int, int], offset: float
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class Stage:
    """One layer to fit.

    Attributes:
        layer: Path of a convolution, or of a ConvModule: its norm is then taken as well.
        maps: What its first channels are to put out, before an activation.
        norm: Path of the batch norm behind a plain convolution.
        identity: Path of a block that adds its own input to the layer's output.
        keep: Part of the positions away from joints that count; the others are left out, for
            time, and those that stay count for them.
        damping: Of the ridge regression.
    """

    layer: str
    maps: Maps
    norm: str = ""
    identity: str = ""
    keep: float = 1.0
    damping: float = 1e-3


@dataclass
class Workbench:
    """A model that is being fitted.

    Attributes:
        model: A pose estimator in evaluation mode.
        samples: What it is fitted to.
        offset: The center of cell 0 of every map is at `offset` strides.
        calibration: How many of the samples batch-norm statistics are taken from.
        fixed: Batch norms that have been fitted, and keep their statistics.
    """

    model: Any
    samples: Samples
    offset: float = 0.0
    calibration: int = 16
    fixed: set[_BatchNorm] = field(default_factory=set)

    def calibrate(self, until: nn.Module | None = None) -> None:
        """Give the batch norms that are not fixed the statistics of real activations.

        Args:
            until: A module where the run stops; all norms before it are calibrated.
        """
        norms = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        free = [norm for norm in norms if norm not in self.fixed]
        momentum = [norm.momentum for norm in free]
        for norm in free:
            norm.momentum = 1.0
            norm.train()
        self._run(self.samples.inputs[: self.calibration], until)
        for norm, value in zip(free, momentum, strict=True):
            norm.momentum = value
        self.model.eval()

    def fit(self, stage: Stage) -> None:
        """Solve for the first channels of a layer, in place."""
        module = self.model.get_submodule(stage.layer)
        conv: Any = getattr(module, "conv", module)
        norm = self._norm(module, stage)
        block = self.model.get_submodule(stage.identity) if stage.identity else None
        self.calibrate(until=conv)
        ridge = self._sums(stage, conv, block)
        solution = ridge.solve(stage.damping)
        write(conv, norm, solution)
        if norm is not None:
            self.fixed.add(norm)
        explained = solution.explained[:JOINT_COUNT]
        log.info("%s: R² %.3f, worst %.3f", stage.layer, explained.mean(), explained.min())

    def _sums(self, stage: Stage, conv: Any, block: nn.Module | None) -> Ridge:
        window, channels = window_of(conv), min(stage.maps.channels, conv.out_channels)
        rng = np.random.default_rng(zlib.crc32(stage.layer.encode()))
        ridge: Ridge | None = None
        for joints, seen in self.inputs_of(conv, *([block] if block is not None else [])):
            shape = window.shape(seen[conv])
            maps = stage.maps.draw(joints, shape, self.samples.size, self.offset)[:, :channels]
            foreground = maps[:, :JOINT_COUNT].amax(dim=1).flatten()
            foreground = foreground > _FOREGROUND * stage.maps.scale
            wanted = maps if block is None else maps - seen[block][:, :channels]
            kept = foreground | torch.from_numpy(rng.random(len(foreground)) < stage.keep)
            weights = torch.where(foreground, 1.0, 1.0 / stage.keep)
            rows = window.columns(seen[conv])[kept]
            ridge = ridge or Ridge(rows.shape[1], channels)
            ridge.add(rows, wanted.movedim(1, -1).flatten(0, 2)[kept], weights[kept])
        assert ridge is not None, "no samples"  # noqa: S101
        return ridge

    def inputs_of(
        self, *modules: nn.Module
    ) -> Iterator[tuple[torch.Tensor, dict[nn.Module, torch.Tensor]]]:
        """Joints [n, P, 17, 2] and what goes into modules, chunk by chunk.

        A run ends at the first module of the list.
        """
        seen: dict[nn.Module, torch.Tensor] = {}

        def keep(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            seen[module] = args[0].clone()  # some activations work in place

        hooks = [module.register_forward_pre_hook(keep) for module in modules]
        try:
            images = torch.split(self.samples.inputs, _CHUNK)
            joints = torch.split(self.samples.joints, _CHUNK)
            for chunk, where in zip(images, joints, strict=True):
                self._run(chunk, modules[0])
                yield where, seen
        finally:
            for hook in hooks:
                hook.remove()

    def _run(self, inputs: torch.Tensor, until: nn.Module | None = None) -> None:
        hook = until.register_forward_pre_hook(_stop) if until is not None else None
        with contextlib.suppress(_Reached):
            self.model.head.forward(self.model.extract_feat(inputs))
        if hook is not None:
            hook.remove()

    def _norm(self, module: nn.Module, stage: Stage) -> _BatchNorm | None:
        if stage.norm:
            norm: Any = self.model.get_submodule(stage.norm)
        else:
            norm = module.norm if getattr(module, "with_norm", False) else None
        return norm  # type: ignore[no-any-return]


class _Reached(Exception):  # noqa: N818  not an error: a run has come as far as it should
    pass


def _stop(_module: nn.Module, _args: object) -> None:
    raise _Reached
