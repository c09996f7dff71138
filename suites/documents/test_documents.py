"""What the documentation says to type exists, and its Python runs.

The snippet for MMDeploy's users is judged more closely, for every family, in
`suites/inference/test_python_api.py`.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer.main

from fixtures.images import photograph
from posedeploy import sdk
from posedeploy.cli.app import app
from posedeploy.config import list_deploy_configs, load_deploy_config
from suites.documents.blocks import PAGES, ROOT, commands
from suites.documents.blocks import blocks as fenced

CODE = re.compile(r"`(posedeploy [^`\n]+)`")
PASSED_ON = {"report", "test"}  # what follows is for another program
SNIPPET = "build_task_processor"


def blocks(page: Path, *languages: str) -> list[str]:
    """Bodies of the page's blocks, without those of files; of `console` ones, what is typed."""
    found = [b for b in fenced(page.read_text("utf-8")) if b.language in languages and not b.title]
    return [
        "\n".join(c.typed for c in commands(b.body)) if b.language == "console" else b.body
        for b in found
    ]


def python_pages() -> list[Path]:
    return [page for page in PAGES if any(SNIPPET not in b for b in blocks(page, "python"))]


@pytest.mark.parametrize("page", python_pages(), ids=lambda p: p.name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one page run one after the other in one folder, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("photo.jpg", photograph("astronaut"))
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        if SNIPPET not in block:
            exec(compile(block, str(page), "exec"), names)  # noqa: S102 - our own page
    if "keypoints" in names:
        assert names["keypoints"].shape == (1, 17, 3)  # type: ignore[attr-defined]


def keys(value: object) -> set[str]:
    """Names of fields at any depth."""
    inside: list[object] = []
    if isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = list(value)
    own = {key for key in value if isinstance(key, str)} if isinstance(value, dict) else set()
    return own.union(*map(keys, inside))


def test_every_field_of_a_deploy_config_is_explained() -> None:
    page = (ROOT / "docs" / "deploy-configs.md").read_text(encoding="utf-8")
    names: set[str] = set()
    for name in list_deploy_configs():
        config = load_deploy_config(name)
        tensors = {*config.input_names, *config.output_names}
        names |= keys(dict(config.raw)) - tensors
    unknown = {name for name in names if not re.search(rf"`[.]?{name}`", page)}
    assert len(names) > 20
    assert unknown == set()


@pytest.mark.parametrize("name", ["deploy", "detail", "pipeline"])
def test_every_field_of_a_schema_has_a_type_and_a_meaning(name: str) -> None:
    root = json.loads((Path(sdk.__file__).parent / "schema" / f"{name}.schema.json").read_text())
    found, empty = 0, []
    todo = [("$", root)]
    while todo:
        place, node = todo.pop()
        for key, given in node.get("properties", {}).items():
            shared = root["$defs"][given["$ref"].rsplit("/", 1)[-1]] if "$ref" in given else {}
            child = {**shared, **given}
            found += 1
            if "const" not in child and not (child.get("type") and child.get("description")):
                empty.append(f"{place}.{key}")
            todo.append((f"{place}.{key}", child))
        if isinstance(node.get("items"), dict):
            todo.append((f"{place}[]", node["items"]))
    assert found > 2
    assert empty == []


def typed(page: Path) -> list[list[str]]:
    """Command lines of `posedeploy` on a page."""
    text = page.read_text(encoding="utf-8")
    lines = CODE.findall(text)
    for block in blocks(page, "sh", "console"):
        joined = block.replace("\\\n", " ")
        lines += [n for n in joined.splitlines() if n.startswith("posedeploy ")]
    return [shlex.split(line.replace("…", ""), comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    for words in typed(page):
        command, rest = find(words)
        if words[:1] and words[0] in PASSED_ON:
            continue
        known = {option for p in command.params for option in p.opts} | {"--help"}
        known |= {"--install-completion", "--show-completion", "--version"}
        used = {word.split("=")[0] for word in rest if word.startswith("--")}
        assert used <= known, f"posedeploy {' '.join(words)}"


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words that follow."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        options = [c for w in rest[0].split("|") if (c := command.commands.get(w))]
        assert options, f"no command {rest[0]!r} in posedeploy {' '.join(words)}"
        command, rest = options[0], rest[1:]
    return command, rest


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert listed == there
