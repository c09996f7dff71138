"""`posedeploy configs`: list deploy configs, show one, write one to a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from posedeploy.cli.arguments import (
    JsonOption,
    check_word,
    complete_backend,
    complete_deploy_config,
    output_folder,
)
from posedeploy.cli.terminal import console, escape, print_json
from posedeploy.config import (
    DeployConfigName,
    deploy_config_text,
    find_deploy_config,
    list_deploy_configs,
    load_deploy_config,
    parse_name,
)
from posedeploy.config.composing import config_text
from posedeploy.config.naming import DEFAULT_PRECISION, precisions
from posedeploy.config.nearest import families
from posedeploy.errors import BadInputError
from posedeploy.heads import HEADS, head_of_kind, head_of_word
from posedeploy.paths import write_text
from posedeploy.runtime.registry import backend_names

configs = typer.Typer(no_args_is_help=True, help="The deploy configs: list, show, new.")
KINDS = tuple(head.kind for head in HEADS)


@configs.command("list")
def list_configs(
    backend: Annotated[str | None, typer.Option(
        help="Only this backend.", autocompletion=complete_backend)] = None,
    head: Annotated[str | None, typer.Option(
        metavar="|".join(KINDS), help="Only this head kind.")] = None,
    precision: Annotated[str | None, typer.Option(
        metavar="|".join(precisions()), help="Only this precision.")] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """List the deploy configs that the zoo needs; any other name of the grammar works as well.

    Examples:

    - `posedeploy configs list`
    - `posedeploy configs list --backend openvino --head simcc`
    - `posedeploy configs list --json`
    """
    check_head(head or KINDS[0])
    check_word("--precision", precision or DEFAULT_PRECISION, precisions())
    wanted = {"backend": backend, "head": head, "precision": precision}
    facts = [
        fact
        for fact in map(name_facts, list_deploy_configs())
        if all(value is None or fact[key] == value for key, value in wanted.items())
    ]
    if as_json:
        print_json(facts)
        return
    if not facts:
        raise BadInputError(
            "posedeploy configs list", "no config of that kind",
            "a backend, head kind and precision of the list",
            "Leave an option out. A name need not be listed: posedeploy configs show NAME",
        )  # fmt: skip
    for fact in facts:
        typer.echo(fact["name"])


def name_facts(name: str) -> dict[str, Any]:
    """The parts of a deploy config's name, as JSON has them."""
    parts = parse_name(name)
    return {
        "name": name, "head": head_of_word(parts.variant).kind, "backend": parts.backend,
        "precision": parts.precision, "batch": parts.shape_mode,
        "height_width": list(parts.shape) if parts.shape else None,
    }  # fmt: skip


@configs.command("show")
def show_config(
    config: Annotated[str, typer.Argument(
        metavar="CONFIG", help="Name or path.", autocompletion=complete_deploy_config)],
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Show a deploy config: its file, its settings, and its text with all that it inherits.

    The file is read, not run.

    Examples:

    - `posedeploy configs show pose-detection_simcc_onnxruntime_dynamic`
    - `posedeploy configs show mine.py --json`
    """
    _check_no_model(config)
    source = find_deploy_config(config)
    path = str(source) if isinstance(source, Path) else None
    loaded = load_deploy_config(config, run=False)
    facts = {
        "path": path, "backend": loaded.backend, "precision": loaded.precision,
        "head": head_of_word(loaded.variant).kind, "batch": loaded.shape_mode,
        "exporter": loaded.exporter if loaded.ir == "onnx" else "trace",
        "outputs": list(loaded.output_names),
        "width_height": list(loaded.input_shape) if loaded.input_shape else None,
    }  # fmt: skip
    if as_json:
        print_json({**facts, "config": loaded.raw})
        return
    absent = {"path": "none: composed from its name", "width_height": "the model's"}
    out = console()
    for label, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = absent[label] if value is None else str(text)
        out.print(f"{label.replace('_', ' x '):<15}{escape(shown)}", soft_wrap=True)
    out.print()
    out.print(escape(config_text(loaded.raw)), soft_wrap=True)


@configs.command("new")
def new_config(  # noqa: PLR0917 - the signature is the command line
    backend: Annotated[str, typer.Option(help="Backend.", autocompletion=complete_backend)],
    head: Annotated[str, typer.Option(
        metavar="|".join(KINDS), help="Head kind of the models it is for."
    )] = head_of_word("").kind,
    precision: Annotated[str, typer.Option(
        metavar="|".join(precisions()), help="Precision.")] = DEFAULT_PRECISION,
    shape: Annotated[str | None, typer.Option(
        metavar="HxW", help="Height x width of the input, px.")] = None,
    dynamic: Annotated[bool, typer.Option(
        "--dynamic/--static", help="Whether the batch may vary.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the file.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
) -> None:  # fmt: skip
    """Write a deploy config to a file, to be changed; its name has the settings.

    Examples:

    - `posedeploy configs new --backend openvino --head simcc --shape 384x288`
    - `posedeploy configs new --backend tensorrt --precision fp16 --shape 256x192 --dynamic
      --out mine`
    """
    check_word("--backend", backend, backend_names())
    check_head(head)
    check_word("--precision", precision, precisions())
    mode = "dynamic" if dynamic else "static"
    name = DeployConfigName(head_of_kind(head).word, backend, precision, mode, parse_shape(shape))
    text = f"# {name}: written by `posedeploy configs new`\n{deploy_config_text(str(name))}\n"
    path = out / f"{name}.py"
    if path.exists() and not force:
        raise BadInputError(
            str(path), "a file of that name", "a new one", "Use --force, or another --out."
        )
    write_text(output_folder(out) / path.name, text)
    console().print(f"wrote {escape(str(path))}", soft_wrap=True)


def check_head(word: str) -> None:
    """Raise BadInputError for what is no head kind; that of a family of models is named."""
    if (kind := families().get(word.lower())) is not None and word not in KINDS:
        raise BadInputError(
            "--head", f"{word}, whose models have {kind} heads",
            f"one of: {', '.join(KINDS)}", f"Use --head {kind}.",
        )  # fmt: skip
    check_word("--head", word, KINDS)


def _check_no_model(config: str) -> None:
    from posedeploy.apis.sources import is_zoo_name

    if is_zoo_name(config):
        raise BadInputError(
            f"deploy config {config}", "the name of a model", "the name of a deploy config",
            f"`posedeploy zoo show {config}` shows those that fit it.",
        )  # fmt: skip


def parse_shape(text: str | None) -> tuple[int, int] | None:
    """(H, W) in px of 'HxW'; BadInputError for text of another form."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise BadInputError("--shape", text, "height x width in px", "Write it as 256x192.")
    return int(match[1]), int(match[2])
