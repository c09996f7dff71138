"""The table of families and models, their checkpoints, and weights that need no network.

`build`, `checkpoints` and `weights` import torch and are imported as modules of their own, so
that reading the table costs nothing.
"""

from posedeploy.zoo.table import (
    ALL,
    MODELS,
    TIERS,
    ModelRow,
    Published,
    config_path,
    model_row,
    models_of,
    published,
    shipped_config,
)

__all__ = [
    "ALL",
    "MODELS",
    "TIERS",
    "ModelRow",
    "Published",
    "config_path",
    "model_row",
    "models_of",
    "published",
    "shipped_config",
]
