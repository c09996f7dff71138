"""`python -m posedeploy.synthetic.fitting [MODEL|TIER ...] [--people N]`: fit and measure.

Detectors have a table of their own, and `--people` draws more or fewer figures a image for
them. Models that cannot be fitted are listed with the reason. Exits with 1 if a fitted model is
below what its family must reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.paths import cache_dir
from posedeploy.synthetic.fitting.accuracy import Accuracy, measure_top_down
from posedeploy.synthetic.fitting.detector_accuracy import DetectorAccuracy, measure_detector
from posedeploy.synthetic.fitting.fit import plan_of
from posedeploy.synthetic.fitting.table import REQUIRED_PCK, why_not
from posedeploy.synthetic.weights import checkpoint_for
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import ALL, ModelRow, config_path, models_of

FIGURES = 100  # of the evaluation split: images, for a detector, with several figures each

_HEADER = (
    "| model | PCK@.05 | PCK@.1 | mean px | median px | OKS | 8-bit shift, px "
    "| required PCK@.05 |\n"
    "|---|---|---|---|---|---|---|---|"
)
_DETECTORS = (
    "\n| detector | figures found | right detections | IoU | PCK@.05 | PCK@.1 | mean px "
    "| median px | OKS | 8-bit shift, px | required PCK@.05 |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def table_row(name: str, measured: Accuracy | DetectorAccuracy, required: float) -> str:
    """One line of the Markdown table."""
    verdict = f"{required}" if measured.pck >= required else f"{required}: MISSED"
    detections = (
        f"{measured.recall:.3f} | {measured.precision:.3f} | {measured.iou:.3f} | "
        if isinstance(measured, DetectorAccuracy)
        else ""
    )
    return (
        f"| {name} | {detections}{measured.pck:.3f} | {measured.pck_10:.3f} "
        f"| {measured.mean_px:.2f} | {measured.median_px:.2f} | {measured.oks:.3f} "
        f"| {measured.shift_px:.2f} | {verdict} |"
    )


def main(selection: Sequence[str], count: int = FIGURES, people: int = 0) -> int:
    """Measure the models of a selection and print the tables; 1 if one is not good enough.

    Args:
        selection: Names of models and tiers; all models by default.
        count: How many images of the evaluation split.
        people: Figures a image for detectors; 0 for as many as they were fitted to.
    """
    reached = True
    rows = models_of(selection or [ALL])
    configs = {row.name: load_model_config(config_path(row)) for row in rows}
    for detectors, header in ((False, _HEADER), (True, _DETECTORS)):
        chosen = [row for row in rows if configs[row.name].head_kind.bottom_up == detectors]
        if chosen:
            print(header)
        for row in chosen:
            reached = _print_row(row, configs[row.name], count, people) and reached
    return 0 if reached else 1


def _print_row(row: ModelRow, model_config: ModelConfig, count: int, people: int) -> bool:
    """Print a model's line; True unless it is below what it must reach."""
    if reason := why_not(row):
        print(f"| {row.name} | not fitted: {reason} | | | | | | |", flush=True)
        return True
    checkpoint = checkpoint_for(model_config, cache_dir(), row.name, kind="fitted")
    model = build_model(model_config, checkpoint)
    measured = _measure(model, model_config, count, people)
    required = REQUIRED_PCK[model_config.head_kind.kind]
    print(table_row(row.name, measured, required), flush=True)
    return measured.pck >= required


def _measure(
    model: Any, model_config: ModelConfig, count: int, people: int
) -> Accuracy | DetectorAccuracy:
    if model_config.head_kind.bottom_up:
        people = people or plan_of(model_config).people
        return measure_detector(model, model_config, count, people)
    return measure_top_down(model, model_config, count)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m posedeploy.synthetic.fitting")
    parser.add_argument("selection", nargs="*", metavar="MODEL|TIER")
    parser.add_argument("--people", type=int, default=0, help="figures a image for detectors")
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = _options(sys.argv[1:])
    sys.exit(main(chosen.selection, people=chosen.people))
