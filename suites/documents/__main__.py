"""Makes the outputs and the images of README and docs/ anew: `python -m suites.documents`.

Each command of a `console` block is run in a folder as the tutorial's reader has it, and what it
prints is written below it, unless what is there agrees. The images are made with their page;
those of the tutorial need Chromium. Arguments are names of pages; without them, it is all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from suites.documents.blocks import PAGES, ROOT, blocks, console
from suites.documents.images import drawings, write_images
from suites.documents.outputs import disagreement
from suites.documents.reader import Reader, prepare, reader_of


def console_pages() -> list[Path]:
    """The pages with outputs of commands."""
    texts = {page: page.read_text("utf-8") for page in PAGES}
    return [p for p, text in texts.items() if any(b.language == "console" for b in blocks(text))]


def write_outputs(page: Path, reader: Reader) -> None:
    """Replace those outputs of a page that no longer agree with what is printed."""
    text = page.read_text("utf-8")
    for block, done in reversed(reader.follows(blocks(text)).items()):
        body = console(done)
        if disagreement(block.body, body):
            text = text[: block.start] + body + text[block.end :]
    page.write_text(text, "utf-8")


def main(words: list[str]) -> None:
    """Write the pages that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m suites.documents", description=__doc__)
    parser.add_argument("page", nargs="*", help="the name of a page, such as tutorial.md")
    named = parser.parse_args(words).page
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder, "prepared"))
        for page in console_pages():
            if not named or page.name in named:
                print(page.relative_to(ROOT), flush=True)
                reader = reader_of(page, prepared, Path(folder, page.stem))
                write_outputs(page, reader)
                if drawings(page):
                    write_images(page, reader.folder)


if __name__ == "__main__":
    main(sys.argv[1:])
