"""`posedeploy zoo`: the supported models and their trained checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from posedeploy.cli.arguments import JsonOption, complete_model
from posedeploy.cli.terminal import console, escape, print_json
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.zoo.table import ModelRow

zoo = typer.Typer(no_args_is_help=True, help="The models that this project answers for.")


@zoo.command("list")
def list_models(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="NAME", help="Models or tiers: quick, default, reference, heads, all.")] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """List families, models, input sizes and published accuracy.

    Examples:

    - `posedeploy zoo list`
    - `posedeploy zoo list quick rtmpose_m`
    - `posedeploy zoo list --json`
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from posedeploy.zoo.table import ALL, models_of

    facts = [facts_of(row) for row in models_of(names or [ALL])]
    if as_json:
        print_json(facts)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "family", "input", "AP", "data set"):
        table.add_column(name, no_wrap=True)
    table.add_column("tiers")
    for fact in sorted(facts, key=lambda fact: (fact["family"].lower(), fact["name"])):
        ap = fact["metrics"].get("AP")
        table.add_row(
            fact["name"], fact["family"], "x".join(map(str, fact["input_size"] or ["?"])),
            "-" if ap is None else f"{ap:.3f}", fact["dataset"] or "-", ", ".join(fact["tiers"]),
        )  # fmt: skip
    out = console()
    out.print(table)
    out.print(
        "input: width x height, px. AP: what mmpose published for its checkpoint, not measured.",
        style="dim",
    )


@zoo.command("show")
def show_model(
    name: Annotated[str, typer.Argument(
        metavar="NAME", help="Model.", autocompletion=complete_model)],
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Show a model: its config, its checkpoint, and the deploy configs that fit it.

    Examples:

    - `posedeploy zoo show rtmpose_s`
    - `posedeploy zoo show rtmpose_s --json`
    """
    from posedeploy.zoo.table import model_row

    row = model_row(name)
    fact = facts_of(row)
    fact["deploy_configs"] = fitting_configs(row)
    if as_json:
        print_json(fact)
        return
    out = console()
    metrics = ", ".join(f"{key} {value:g}" for key, value in fact["metrics"].items())
    lines = (
        ("family", fact["family"]),
        ("input", " x ".join(map(str, fact["input_size"] or ["?"])) + " px (width x height)"),
        ("config", fact["config"]),
        ("published", f"{metrics} on {fact['dataset']}" if metrics else "nothing"),
        ("checkpoint", fact["url"] or "none is listed"),
        ("fetched", fact["fetched"] or f"no; `posedeploy zoo fetch {name}`"),
        ("tiers", ", ".join(fact["tiers"]) or "none"),
    )
    out.print(f"[bold]{name}[/]")
    for label, text in lines:
        out.print(f"  {label:<11}{escape(str(text))}", soft_wrap=True)
    out.print(f"  {'converts':<11}with {len(fact['deploy_configs'])} deploy configs:")
    for config in fact["deploy_configs"]:
        out.print(f"    {config}")


@zoo.command("fetch")
def fetch(
    names: Annotated[list[str], typer.Argument(
        metavar="NAME", help="Models or tiers.", autocompletion=complete_model)],
    folder: Annotated[Path | None, typer.Option(
        help="Where checkpoints go; by default the cache.")] = None,
    offline: Annotated[bool, typer.Option(
        "--offline", help="Use no network: name what is missing and where.")] = False,
) -> None:  # fmt: skip
    """Download trained checkpoints; files that are there already are checked and kept.

    Examples:

    - `posedeploy zoo fetch rtmpose_s`
    - `posedeploy zoo fetch quick`
    - `posedeploy zoo fetch rtmpose_s --offline`
    """
    from posedeploy.zoo.download import fetch_checkpoint
    from posedeploy.zoo.table import models_of

    fetch_all(models_of(names), folder, offline=offline, download=fetch_checkpoint)


def fetch_all(
    rows: Iterable[ModelRow], folder: Path | None, *, offline: bool, download: Callable[..., Path]
) -> None:
    """Download checkpoints with a progress bar, and print their paths.

    `download` has the parameters of `posedeploy.zoo.download.fetch_checkpoint`.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    out = console()
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        for row in rows:
            task = bar.add_task(row.name, total=None)

            def update(done: int, total: int | None, task: Any = task) -> None:
                bar.update(task, completed=done, total=total)

            path = download(row, folder, offline=offline, on_progress=update)
            bar.remove_task(task)
            out.print(f"{row.name}: {escape(str(path))}", soft_wrap=True)


def facts_of(row: ModelRow) -> dict[str, Any]:
    """A row with its entry in mmpose's index, which is empty without mmpose."""
    from posedeploy.config import load_model_config
    from posedeploy.zoo.download import fetched
    from posedeploy.zoo.table import config_path, published

    try:
        entry, path = published(row), fetched(row)
        size = load_model_config(config_path(row)).input_size
    except (UnavailableError, ImportError):  # an environment for running alone
        entry, path, size = None, None, None
    return {
        "name": row.name, "family": row.family, "config": row.config,
        "input_size": list(size) if size else None, "tiers": list(row.tiers),
        "dataset": entry.dataset if entry else "",
        "metrics": dict(entry.metrics) if entry else {},
        "url": entry.url if entry else "", "fetched": str(path or ""),
    }  # fmt: skip


def fitting_configs(row: ModelRow) -> list[str]:
    """Names of the deploy configs of this project that fit a model."""
    from posedeploy.apis.exporting import check_fit
    from posedeploy.config import list_deploy_configs, load_deploy_config, load_model_config
    from posedeploy.zoo.table import config_path

    try:
        model_config = load_model_config(config_path(row))
    except (UnavailableError, ImportError):
        return []
    fitting = []
    for name in list_deploy_configs():
        with contextlib.suppress(BadInputError):
            check_fit(load_deploy_config(name), model_config)
            fitting.append(name)
    return fitting
