"""Fit a built model by the plan of its head and backbone."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from posedeploy.config import ModelConfig
from posedeploy.synthetic.calibration import single_thread
from posedeploy.synthetic.fitting.grid import cell_offset
from posedeploy.synthetic.fitting.plan import Plan
from posedeploy.synthetic.fitting.randomness import initialize_smooth
from posedeploy.synthetic.fitting.table import PLANS, plan_key
from posedeploy.synthetic.fitting.workbench import Workbench
from posedeploy.synthetic.layers import SMALLEST_HALF
from posedeploy.synthetic.samples import make_samples


def fit(model: Any, model_config: ModelConfig, seed: int, plan: Plan | None = None) -> None:
    """Turn a built model into one that locates the joints of drawn figures, in place.

    Args:
        model: What `build_model(model_config, None)` gave.
        model_config: Its config; `can_fit` says if there is a plan for it.
        seed: Decides the layers that stay random.
        plan: How; None takes the plan of the config's head and backbone.
    """
    plan = plan or plan_of(model_config)
    with single_thread(), torch.no_grad():
        initialize_smooth(model, seed, min(model_config.std))
        plan.prepare(model)
        bench = Workbench(
            model,
            make_samples(model_config, "fitting", plan.images),
            cell_offset(model.head.decoder, model_config.codec["heatmap_size"]),
        )
        for stage in plan.stages(model):
            bench.fit(stage)
        bench.calibrate()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                drop_subnormal(module.weight)


def drop_subnormal(weight: torch.Tensor) -> None:
    """Set to 0, in place, what is below float16's normal range, as half precision may.

    Regularized least squares leave small weights, up to 5 % of a layer; a backend that flushes
    them would be blamed for it.
    """
    weight[weight.abs() < SMALLEST_HALF] = 0.0


def plan_of(model_config: ModelConfig) -> Plan:
    """The plan for a model; `can_fit` says if there is one."""
    plan: Plan = importlib.import_module(f".{PLANS[plan_key(model_config)]}", __package__).PLAN
    return plan
