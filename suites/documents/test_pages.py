"""Commands of `console` blocks in README and docs/ print what the pages have.

`python -m suites.documents` writes their outputs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.documents.__main__ import console_pages
from suites.documents.blocks import blocks, commands, console
from suites.documents.images import ASSETS, CHANGED, changed, drawings, read
from suites.documents.outputs import disagreement
from suites.documents.reader import reader_of


def count_of_commands(page: Path) -> int:
    """How many commands a page's `console` blocks have."""
    found = (b for b in blocks(page.read_text("utf-8")) if b.language == "console")
    return sum(len(commands(block.body)) for block in found)


# The longest first: the last one leaves the other cores idle.
LONGEST_FIRST = sorted(console_pages(), key=count_of_commands, reverse=True)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", LONGEST_FIRST, ids=lambda p: p.name)
def test_commands_print_what_the_page_has(page: Path, prepared: Path, tmp_path: Path) -> None:
    reader = reader_of(page, prepared, tmp_path / "reader")
    for block, done in reader.follows(blocks(page.read_text("utf-8"))).items():
        difference = disagreement(block.body, console(done))
        assert not difference, f"{page.name}: python -m suites.documents {page.name}: {difference}"
    for name, drawing in drawings(page).items():  # they are what was drawn just now
        fresh = read(reader.folder / drawing.source, drawing.frame)
        part = changed(read(ASSETS / f"{name}.webp"), fresh)
        assert part <= CHANGED, f"{name}: python -m suites.documents {page.name}"
