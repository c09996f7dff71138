"""Parts of pages that are generated from the code, so that they agree with it.

A line `<!-- made: NAME -->` of a page is replaced by the result of `PARTS[NAME]`, and a line
`<!-- images: NAME … -->` by images of `docs/assets/`, side by side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main

from poseconform.checks.table import CHECKS
from posedeploy import sdk
from posedeploy.cli.app import app
from posedeploy.config import (
    DeployConfigName,
    find_deploy_config,
    list_deploy_configs,
    load_deploy_config,
)
from posedeploy.heads import HEADS
from posedeploy.runtime.registry import BACKENDS
from posedeploy.zoo.table import MODELS, published

MARK = re.compile(r"^<!-- made: ([a-z0-9-]+) -->$", re.MULTILINE)
IMAGES = re.compile(r"^<!-- images: ([a-z0-9 -]+) -->$", re.MULTILINE)
CONSOLE = re.compile(r"^```console\n.*?^```$", re.DOTALL | re.MULTILINE)
SUPPORT = re.compile(
    r"<!-- support-table: begin;[^\n]*-->\n(.*?)<!-- support-table: end -->", re.DOTALL
)
ROOT = Path(__file__).parents[2]
SCHEMAS = Path(sdk.__file__).parent / "schema"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for each page.

    Raises:
        KeyError: The page names a part or a image that does not exist.
    """
    made = MARK.sub(lambda match: PARTS[match[1]](), markdown)
    return IMAGES.sub(lambda match: images(match[1].split()), made)


def images(names: Sequence[str]) -> str:
    """Images with their captions; of one with two themes, the page shows the right one."""
    known = json.loads((ROOT / "docs" / "assets" / "images.json").read_text("utf-8"))["images"]
    figures = []
    for name in names:
        themes = [f"{name}-{theme}.webp" for theme in ("light", "dark")]
        files = {f: f"#only-{f.split('-')[-1][:-5]}" for f in themes if f in known}
        files = files or {f"{name}.webp": ""}
        shown = "\n".join(
            f"[![{known[f]['alt']}](assets/{f}{theme})](assets/{f})" for f, theme in files.items()
        )
        caption = known[next(iter(files))]["caption"]
        figures.append(
            f'<figure markdown="span">\n{shown}\n<figcaption>{caption}</figcaption>\n</figure>'
        )
    return '<div class="images" markdown>\n' + "\n".join(figures) + "\n</div>"


def of_readme(pattern: re.Pattern[str], number: int = 0) -> Callable[[], str]:
    """A part of README."""

    def part() -> str:
        return list(pattern.finditer((ROOT / "README.md").read_text("utf-8")))[number][
            pattern.groups
        ]

    return part


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)


def backends() -> str:
    """The backend table of the runtime package."""
    head = ("backend", "package", "oldest version", "files", "precisions", "devices")
    return table(head, (
        (b.name, f"`{b.distribution}`", b.min_version,
         ", ".join(f"`{f}`" for f in (b.main_file, b.weights_file) if f),
         ", ".join(b.precisions), ", ".join(b.devices))
        for b in BACKENDS
    ))  # fmt: skip


def checks() -> str:
    """Every declared check."""
    return table(("check", "stage", "suite", "what it checks"), (
        (f"`{c.name}`", c.stage, c.suite, (c.function.__doc__ or "").strip().split("\n")[0])
        for c in CHECKS.values()
    ))  # fmt: skip


def heads() -> str:
    """The kinds of heads, with the outputs of their whole graphs."""
    return table(("head kind", "word", "MMPose heads", "outputs"), (
        (h.kind, f"`{h.word}`" if h.word else "", ", ".join(f"`{t}`" for t in h.mmpose_heads),
         ", ".join(f"`{o.name} [{', '.join(map(str, o.axes))}]`" for o in h.outputs))
        for h in HEADS
    ))  # fmt: skip


def commands() -> str:
    """`--help` of every command."""
    group = typer.main.get_command(app)
    parts = []
    for path, command in _leaves(group, ()):
        parts.append(f"## `{' '.join(('posedeploy', *path))}`\n\n{help_of(command)}")
    return "\n\n".join(parts)


def help_of(command: Any) -> str:
    """The docstring of a command, and its arguments and options."""
    lines = (command.help or "").strip().splitlines()  # brackets would be links, but in code
    doc = "\n".join(n if n.startswith("    ") else n.replace("[", "\\[") for n in lines)
    rows = [
        (", ".join(f"`{o}`" for o in _names(p)), " ".join((getattr(p, "help", "") or "").split()))
        for p in command.params
        if not getattr(p, "hidden", False) and "--help" not in p.opts
    ]
    return doc + ("\n\n" + table(("argument or option", "meaning"), rows) if rows else "")


def _names(parameter: Any) -> list[str]:
    """The names of an option, or the name of an argument in the usage line."""
    is_argument = not any(name.startswith("-") for name in parameter.opts)
    return [parameter.metavar] if is_argument and parameter.metavar else list(parameter.opts)


def _leaves(group: Any, path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    for name, command in sorted(group.commands.items()):
        if getattr(command, "commands", None):
            yield from _leaves(command, (*path, name))
        else:
            yield (*path, name), command


def deploy_configs() -> str:
    """Every listed deploy config."""
    head = ("name", "backend", "precision", "batch", "shape", "MMDeploy's")
    rows = []
    for name in list_deploy_configs():
        config = load_deploy_config(name)
        shape = "{1}x{0}".format(*config.input_shape) if config.input_shape else "the model's"
        origin = "" if isinstance(find_deploy_config(name), DeployConfigName) else "yes"
        rows.append(
            (f"`{name}`", config.backend, config.precision, config.shape_mode, shape, origin)
        )
    return table(head, rows)


def zoo() -> str:
    """The models, with their published AP from mmpose's index."""
    rows = []
    for row in MODELS:
        found = published(row)
        score = next((v for k, v in found.metrics.items() if k == "AP"), "") if found else ""
        rows.append((f"`{row.name}`", row.family, ", ".join(row.tiers) or "", score))
    return table(("model", "family", "tiers", "published AP"), rows)


def schema(name: str) -> Callable[[], str]:
    """The fields of one JSON file of an SDK model folder."""

    def part() -> str:
        content = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
        rows = list(_fields(content, "$", content))
        return f"{content['description']}\n\n" + table(("field", "type", "meaning"), rows)

    return part


def _fields(node: Any, path: str, root: Any) -> Iterable[tuple[str, str, str]]:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    required = set(node.get("required", ()))
    for name, given in node.get("properties", {}).items():
        place, child = f"{path}.{name}", given
        if "$ref" in given:  # the description of the field is more specific
            child = {**root["$defs"][given["$ref"].rsplit("/", 1)[-1]], **given}
        kind = child.get("type") or ("constant" if "const" in child else "")
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        needed = "" if name in required else " (optional)"
        meaning = str(child.get("description", "")).replace("|", "\\|")
        if "const" in child:
            meaning += f" Always `{child['const']}`."
        if "enum" in child:
            meaning += " One of " + ", ".join(f"`{v}`" for v in child["enum"]) + "."
        yield f"`{place}`{needed}", kind, meaning
        yield from _fields(child, place, root)
    if isinstance(node.get("items"), dict):
        yield from _fields(node["items"], f"{path}[]", root)


PARTS: Mapping[str, Callable[[], str]] = {
    "backends": backends,
    "checks": checks,
    "commands": commands,
    "deploy-configs": deploy_configs,
    "heads": heads,
    "schema-deploy": schema("deploy"),
    "schema-detail": schema("detail"),
    "schema-pipeline": schema("pipeline"),
    "support-table": of_readme(SUPPORT),
    "verdict-different": of_readme(CONSOLE, 1),
    "verdict-same": of_readme(CONSOLE),
    "zoo": zoo,
}
