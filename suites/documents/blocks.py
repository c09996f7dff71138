"""The fenced blocks of the documentation's pages, and the commands in them.

`console` blocks hold commands with their output, `sh` blocks commands alone. A block with
`title="NAME"` is the content of a file of that name in the reader's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
PROMPT, MORE = "$ ", "> "
_FENCE = re.compile(
    r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_LANGUAGE, _TITLE = re.compile(r"\{?\s*\.?(\w+)"), re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str  # name of the file that it is the content of, or ''
    wide: bool  # of class `wide`: a table that a terminal prints, which is not wrapped
    body: str
    start: int  # the place of the body in the text of the page, characters
    end: int


@dataclass(frozen=True)
class Command:
    """A command of a `console` block, as it is typed, and what follows it."""

    typed: str  # lines without prompts
    output: str


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, from top to bottom."""
    for found in _FENCE.finditer(text):
        language, title = _LANGUAGE.match(found["info"]), _TITLE.search(found["info"])
        yield Block(
            language[1] if language else "", title[1] if title else "", ".wide" in found["info"],
            found["body"], *found.span("body"),
        )  # fmt: skip


def commands(body: str) -> list[Command]:
    """The commands of a `console` block.

    Raises:
        ValueError: The block does not begin with a prompt.
    """
    if not body.startswith(PROMPT):
        raise ValueError(f"a console block begins with {PROMPT!r}, not with {body[:20]!r}")
    found = []
    for part in re.split(rf"^{re.escape(PROMPT)}", body, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        count = 1
        while count < len(lines) and lines[count].startswith(MORE):
            count += 1
        typed = [lines[0], *(line.removeprefix(MORE) for line in lines[1:count])]
        found.append(Command("".join(typed).rstrip("\n"), "".join(lines[count:])))
    return found


def console(done: list[Command]) -> str:
    """The body of a `console` block."""
    return "".join(
        PROMPT + f"\n{MORE}".join(command.typed.split("\n")) + "\n" + command.output
        for command in done
    )


def typed_lines(body: str) -> list[str]:
    """The commands of an `sh` block, one each; without comments, continued lines joined."""
    joined = body.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line]
