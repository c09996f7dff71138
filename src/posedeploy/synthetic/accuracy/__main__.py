"""`python -m posedeploy.synthetic.accuracy [MODEL|TIER ...]`: how well made weights find figures.

Measures models of the zoo with trained weights, or fitted ones where none are stored, on figures
that no weights have seen, and prints a table of top-down models and one of detectors, with what
the training cost. Exits with 1 if a model is below what its kind must reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.paths import cache_dir
from posedeploy.synthetic.accuracy.detectors import DetectorAccuracy
from posedeploy.synthetic.accuracy.evaluation import Evaluation
from posedeploy.synthetic.accuracy.top_down import Accuracy
from posedeploy.synthetic.trained import stored_facts, trained_file
from posedeploy.synthetic.weights import checkpoint_for, locating_kinds
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import ALL, config_path, models_of

Measured = Accuracy | DetectorAccuracy
Measure = Callable[
    [str, ModelConfig, str, int], Measured
]  # model, config, kind of weights, images

IMAGES = 99  # of the evaluation split; for a detector a third each with one, two and three people
LEAST_PCK, LEAST_AP = 0.99, 0.9  # of top-down models at 0.05, and of detectors

_TOP_DOWN = (
    "| model | weights | PCK@.05 | PCK@.1 | mean px | median px | OKS | 8-bit shift, px | steps "
    "| CPU hours | required PCK@.05 |\n" + "|---" * 11 + "|"
)
_DETECTORS = (
    "\n| detector | weights | AP | figures found | right detections | IoU | PCK@.05 | PCK@.1 "
    "| mean px | median px | OKS | 8-bit shift, px | steps | CPU hours | required AP |\n"
    + "|---" * 15 + "|"
)  # fmt: skip


def table_row(name: str, kind: str, measured: Measured, cost: Sequence[str]) -> str:
    """One line of the Markdown table."""
    cells = [name, kind]
    if isinstance(measured, DetectorAccuracy):
        parts = (measured.ap, measured.recall, measured.precision, measured.iou)
        cells += [f"{part:.3f}" for part in parts]
    cells += [f"{measured.pck:.3f}", f"{measured.pck_10:.3f}"]
    cells += [f"{measured.mean_px:.2f}", f"{measured.median_px:.2f}"]
    cells += [f"{measured.oks:.3f}", f"{measured.shift_px:.2f}", *cost]
    required = LEAST_AP if isinstance(measured, DetectorAccuracy) else LEAST_PCK
    cells.append(f"{required}" if reached(measured) else f"{required}: MISSED")
    return f"| {' | '.join(cells)} |"


def reached(measured: Measured) -> bool:
    """Whether a model finds as much as its kind must."""
    if isinstance(measured, DetectorAccuracy):
        return measured.ap >= LEAST_AP
    return measured.pck >= LEAST_PCK


def measure(name: str, model_config: ModelConfig, kind: str, images: int) -> Measured:
    """Accuracy of a kind of weights, which are made if they are not in the cache."""
    checkpoint = checkpoint_for(model_config, cache_dir(), name, kind=kind)
    evaluation = Evaluation(model_config, images)
    return evaluation.with_shift(build_model(model_config, checkpoint))


def main(selection: Sequence[str], images: int = IMAGES, measure: Measure = measure) -> int:
    """Measure the models of a selection and print the tables; 1 if one is not good enough."""
    good = True
    rows = models_of(selection or [ALL])
    configs = {row.name: load_model_config(config_path(row)) for row in rows}
    for detectors, header in ((False, _TOP_DOWN), (True, _DETECTORS)):
        chosen = {n: c for n, c in configs.items() if c.head_kind.bottom_up == detectors}
        kinds = {name: locating_kinds(config)[:1] for name, config in chosen.items()}
        if any(kinds.values()):
            print(header)
        for name, (kind,) in ((name, kind) for name, kind in kinds.items() if kind):
            measured = measure(name, chosen[name], kind, images)
            print(table_row(name, kind, measured, _cost(chosen[name], kind)), flush=True)
            good = good and reached(measured)
    without = [name for name, config in configs.items() if not locating_kinds(config)]
    if without:
        print(f"\nNo weights that find figures: {', '.join(without)}.")
    return 0 if good else 1


def _cost(model_config: ModelConfig, kind: str) -> tuple[str, str]:
    """Steps and CPU hours of a training; '' for weights that were not trained."""
    stored = trained_file(model_config) if kind == "trained" else None
    if stored is None:
        return "", ""
    facts = stored_facts(stored)
    return f"{facts['step']}", f"{facts['cpu_seconds'] / 3600:.1f}"


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m posedeploy.synthetic.accuracy")
    parser.add_argument("selection", nargs="*", metavar="MODEL|TIER")
    parser.add_argument("--images", type=int, default=IMAGES, help="of the evaluation split")
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = _options(sys.argv[1:])
    sys.exit(main(chosen.selection, chosen.images))
