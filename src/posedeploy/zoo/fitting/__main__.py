"""`python -m posedeploy.zoo.fitting [MODEL|TIER ...]`: fit, measure, and print a table.

Models that cannot be fitted are listed with the reason. Exits with 1 if a fitted model is below
what its family must reach.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from posedeploy.config import load_model_config

from ..build import build_model
from ..table import ALL, config_path, models_of
from ..weights import checkpoint_for, default_cache_dir
from .accuracy import Accuracy, measure_top_down
from .table import REQUIRED_PCK, why_not

FIGURES = 100  # of the evaluation split

_HEADER = (
    "| model | PCK@.05 | PCK@.1 | mean px | median px | OKS | 8-bit shift, px "
    "| required PCK@.05 |\n"
    "|---|---|---|---|---|---|---|---|"
)


def table_row(name: str, measured: Accuracy, required: float) -> str:
    """One line of the Markdown table."""
    verdict = f"{required}" if measured.pck >= required else f"{required}: MISSED"
    return (
        f"| {name} | {measured.pck:.3f} | {measured.pck_10:.3f} | {measured.mean_px:.2f} "
        f"| {measured.median_px:.2f} | {measured.oks:.3f} | {measured.shift_px:.2f} | {verdict} |"
    )


def main(selection: Sequence[str], count: int = FIGURES) -> int:
    """Measure the models of a selection and print the table; 1 if one is not good enough.

    Args:
        selection: Names of models and tiers; all models by default.
        count: How many figures of the evaluation split.
    """
    print(_HEADER)
    reached = True
    for row in models_of(selection or [ALL]):
        if reason := why_not(row):
            print(f"| {row.name} | not fitted: {reason} | | | | | | |", flush=True)
            continue
        model_config = load_model_config(config_path(row))
        checkpoint = checkpoint_for(model_config, default_cache_dir(), row.name, kind="fitted")
        measured = measure_top_down(build_model(model_config, checkpoint), model_config, count)
        required = REQUIRED_PCK[model_config.head_kind]
        print(table_row(row.name, measured, required), flush=True)
        reached = reached and measured.pck >= required
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
