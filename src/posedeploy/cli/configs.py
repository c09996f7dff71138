"""`posedeploy configs`: the deploy configs; list them, look at one, make a new one."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from posedeploy.cli.completion import complete_backend, complete_deploy_config
from posedeploy.cli.terminal import console, escape, print_json
from posedeploy.config import (
    DeployConfigName,
    find_deploy_config,
    list_deploy_configs,
    load_deploy_config,
    parse_name,
)
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.heads import HEADS, head_of_kind, head_of_word
from posedeploy.paths import write_text

configs = typer.Typer(no_args_is_help=True, help="The deploy configs: list, show, new.")

LIST_EXAMPLES = """
Examples:

    posedeploy configs list

    posedeploy configs list --backend openvino --head simcc

    posedeploy configs list --json
"""
SHOW_EXAMPLES = """
Examples:

    posedeploy configs show pose-detection_simcc_onnxruntime_dynamic

    posedeploy configs show mine.py --json
"""
NEW_EXAMPLES = """
Examples:

    posedeploy configs new --backend openvino --head simcc --shape 384x288

    posedeploy configs new --backend tensorrt --precision fp16 --shape 256x192 --dynamic --out mine
"""


class Precision(StrEnum):
    """Precisions of the grammar."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def _head_kind(text: str) -> str:
    kinds = [head.kind for head in HEADS]
    if text not in kinds:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(kinds)}")
    return text


HeadOption = Annotated[str | None, typer.Option(help="Only this head kind.", parser=_head_kind)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BackendOption = Annotated[
    str | None, typer.Option(help="Only this backend.", autocompletion=complete_backend)
]


@configs.command("list")
def list_configs(
    backend: BackendOption = None,
    head: HeadOption = None,
    precision: Annotated[Precision | None, typer.Option(help="Only this precision.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the deploy configs of this project, a name a line; the names say what they are."""
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
            "a backend, head kind and precision of the collection",
            "Leave an option out, or make one: posedeploy configs new --help",
        )  # fmt: skip
    for fact in facts:
        typer.echo(fact["name"])


list_configs.__doc__ = f"{list_configs.__doc__}\n{LIST_EXAMPLES}"


def name_facts(name: str) -> dict[str, Any]:
    """What a deploy config's name says."""
    said = parse_name(name)
    return {
        "name": name,
        "head": head_of_word(said.variant).kind,
        "backend": said.backend,
        "precision": said.precision,
        "batch": said.shape_mode,
        "height_width": list(said.shape) if said.shape else None,
    }


@configs.command("show")
def show_config(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="Name or path.", autocompletion=complete_deploy_config
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a deploy config: where it lies, what it says, and its text with all it inherits."""
    path = find_deploy_config(config)
    try:
        loaded = load_deploy_config(path)
    except ImportError as error:
        raise UnavailableError(
            f"deploy config {config}", f"no package '{error.name}'",
            "mmengine, which reads deploy configs",
            f"Install it: python -m pip install mmengine. The file itself is {path}",
        ) from error  # fmt: skip
    facts = {
        "path": str(path), "backend": loaded.backend, "precision": loaded.precision,
        "head": head_of_word(loaded.variant).kind, "batch": loaded.shape_mode,
        "exporter": loaded.exporter if loaded.ir == "onnx" else "trace",
        "outputs": list(loaded.output_names),
        "width_height": list(loaded.input_shape) if loaded.input_shape else None,
    }  # fmt: skip
    if as_json:
        print_json({**facts, "config": loaded.raw})
        return
    from posedeploy.config.composing import config_text

    out = console()
    for label, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = "the model's" if value is None else str(text)
        out.print(f"{label.replace('_', ' x '):<15}{escape(shown)}", soft_wrap=True)
    out.print()
    out.print(escape(config_text(loaded.raw)), soft_wrap=True)


show_config.__doc__ = f"{show_config.__doc__}\n{SHOW_EXAMPLES}"


@configs.command("new")
def new_config(  # noqa: PLR0917 - the signature is the command line
    backend: Annotated[str, typer.Option(help="Backend.", autocompletion=complete_backend)],
    head: Annotated[
        str, typer.Option(help="Head kind of the models it is for.", parser=_head_kind)
    ] = "heatmap",
    precision: Annotated[Precision, typer.Option(help="Precision.")] = Precision.FP32,
    shape: Annotated[
        str | None, typer.Option(metavar="HxW", help="Height x width of the input, px.")
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic/--static", help="Whether the batch may vary.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the file.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
) -> None:
    """Write a new deploy config; its name follows the grammar and agrees with its content."""
    from posedeploy.config.composing import compose

    mode = "dynamic" if dynamic else "static"
    name = DeployConfigName(
        head_of_kind(head).word, backend, precision.value, mode, parse_shape(shape)
    )
    text = compose(name)
    path = out / f"{name}.py"
    if path.exists() and not force:
        raise BadInputError(
            str(path), "a file of that name", "a new one", "Use --force, or another --out."
        )
    try:
        write_text(path, text)
    except OSError as error:
        found = "a file" if out.is_file() else error.strerror or str(error)
        raise BadInputError(
            f"--out {out}", found, "a folder that can be written to",
            "Choose another place.",
        ) from error  # fmt: skip
    console().print(f"wrote {escape(str(path))}", soft_wrap=True)


new_config.__doc__ = f"{new_config.__doc__}\n{NEW_EXAMPLES}"


def parse_shape(text: str | None) -> tuple[int, int] | None:
    """(H, W) in px of 'HxW'.

    Raises:
        BadInputError: It is not of that form.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise BadInputError("--shape", text, "height x width in px", "Write it as 256x192.")
    return int(match[1]), int(match[2])
