"""Fit a built model by the plan of its head and backbone."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from posedeploy.config import ModelConfig

from ..calibration import single_thread
from .table import PLANS, plan_key


def fit(model: Any, model_config: ModelConfig, seed: int) -> None:
    """Turn a built model into one that locates the joints of drawn figures, in place.

    Args:
        model: What `build_model(model_config, None)` gave.
        model_config: Its config; `can_fit` says if there is a plan for it.
        seed: Decides the layers that stay random.
    """
    plan = importlib.import_module(f"{__package__}.{PLANS[plan_key(model_config)]}")
    with single_thread(), torch.no_grad():
        plan.fit(model, model_config, seed)
