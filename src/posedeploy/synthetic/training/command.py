"""`python -m posedeploy.synthetic.train MODEL --out DIR`: train a model of the zoo."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import PoseDeployError
from posedeploy.synthetic.accuracy.evaluation import Evaluation, measures_of
from posedeploy.synthetic.trained import stored_backbone
from posedeploy.synthetic.training.loop import Settings, Training
from posedeploy.synthetic.training.recipes import RECIPES, recipe_of
from posedeploy.zoo.table import config_path, model_row

_FIGURES = 96  # evaluation images: divisible by one, two and three people


def main(words: Sequence[str]) -> int:
    """Train, and print the accuracy; the exit code."""
    options = _parser().parse_args(words)
    console = Console()
    try:
        model_config = load_model_config(config_path(model_row(options.model)))
        training = _training(options, model_config)
        _run(training, Evaluation(model_config, options.figures), options, console)
    except PoseDeployError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("Interrupted. Go on with the same command and --resume.")
        return 130
    console.print(f"{training.weights}: {training.weights.stat().st_size / 1e6:.1f} MB")
    return 0


def _training(options: argparse.Namespace, model_config: ModelConfig) -> Training:
    recipe = recipe_of(options.model)
    changed = {name: getattr(options, name) for name in ("steps", "batch", "rate")}
    recipe = replace(recipe, **{k: v for k, v in changed.items() if v is not None})
    names = {field.name for field in fields(Settings)}
    settings = Settings(**{k: v for k, v in vars(options).items() if k in names})
    training = Training(options.model, model_config, recipe, settings, options.out)
    if options.resume:
        training.resume()
    else:
        training.start(stored_backbone(recipe.backbone_of) if recipe.backbone_of else None)
    return training


def _run(
    training: Training, evaluate: Evaluation, options: argparse.Namespace, console: Console
) -> None:
    started, first = time.perf_counter(), training.step
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(options.model, total=training.steps, completed=first)

        def report(step: int, measures: Mapping[str, float]) -> None:
            progress.update(task, completed=step)
            if step % options.log_every and len(measures) == 1:
                return
            pace = (time.perf_counter() - started) / (step - first)
            left = timedelta(seconds=round(pace * (training.steps - step)))
            found = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
            progress.console.print(
                f"{options.model} step {step} of {training.steps}: {found}; "
                f"{pace:.2f} s a step, {left} left",
                highlight=False,
                soft_wrap=True,
            )

        training.run(lambda model: measures_of(evaluate(model)), report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m posedeploy.synthetic.train",
        description="Train a model from nothing on drawn figures.",
    )
    default = Settings()
    parser.add_argument("model", help=", ".join(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--steps", type=int, help="steps; the recipe's by default")
    parser.add_argument("--batch", type=int, help="images a step; the recipe's by default")
    parser.add_argument("--rate", type=float, help="learning rate; the recipe's by default")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--threads", type=int, default=default.threads, help="of torch")
    parser.add_argument("--device", default=default.device, help="cpu, cuda, …")
    parser.add_argument("--workers", type=int, default=default.workers, help="drawing processes")
    parser.add_argument("--figures", type=int, default=_FIGURES, help="evaluation images")
    for name in ("log_every", "evaluate_every", "save_every"):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=int, default=getattr(default, name), help="steps")
    return parser
