"""The table of models, their checkpoints, and building a model from a config and a checkpoint.

`build` and `checkpoints` import torch; reading the table does not.
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
