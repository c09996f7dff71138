"""The report files: `index.html` and `support-table.md`, from `results.json` alone.

The page is one file: it loads nothing, and its content security policy forbids it to.  The same
results give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from poseconform.report.data.baseline import comparable
from poseconform.report.data.vocabulary import failed, ran
from poseconform.report.page.charts import LEFT, TOP, WIDTH
from poseconform.report.page.page import Page, page_of
from poseconform.report.page.payload import script_json
from poseconform.report.text.strings import plural, visible
from poseconform.report.text.table import support_table
from poseconform.results.records import CellRecord
from poseconform.results.results import Results, read_results
from posedeploy.paths import write_text

PAGE_LIMIT = 1_400_000  # bytes that images may fill a page to; a mail or a wiki takes that much
IMAGES_LIMIT = 500_000  # bytes of images alone: those of every failing cell of a bad run


class ReportFiles(NamedTuple):
    """Where the files of a report are, the page first."""

    html: Path
    support_table: Path


def build_report(
    results_path: Path, out_dir: Path, *, baseline_path: Path | None = None
) -> ReportFiles:
    """Write `index.html` and `support-table.md` for the file `results_path` into `out_dir`.

    Args:
        results_path: A `results.json`.
        out_dir: Made if it is not there; other files in it are left alone.
        baseline_path: Results to compare with; changes are marked on the page.

    Raises:
        ReportError: A file of results cannot be read; the message says why.
        OSError: The file system refused.
    """
    results = read_results(results_path)
    baseline = None if baseline_path is None else comparable(read_results(baseline_path), results)
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = ReportFiles(out_dir / "index.html", out_dir / "support-table.md")
    write_text(paths.html, render_html(results, baseline))
    write_text(paths.support_table, support_table(results))
    return paths


def render_html(
    results: Results, baseline: Results | None = None, *, limit: int = PAGE_LIMIT
) -> str:
    """The page of `results` as one self-contained HTML document.

    Args:
        results: The results.
        baseline: Results that changes are marked against.
        limit: Bytes that images may fill the page to.
    """
    page = page_of(results, baseline)
    without = _render(page)
    room = min(IMAGES_LIMIT, limit - len(without.encode()))
    return _render(page) if _add_images(page, room) else without


def _render(page: Page) -> str:
    script, theme = _template("app.js"), _template("theme.js")
    template = _environment().get_template("index.html.j2")
    return template.render(
        page=page,
        strips=page.strips,
        bars=page.bars,
        left=LEFT,
        width=WIDTH,
        top=TOP,
        style=Markup(_template("style.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        theme_script=Markup(theme),  # noqa: S704 - our own file
        icons=Markup(_template("icons.svg")),  # noqa: S704 - our own file
        script_hashes=Markup(f"{_csp_hash(theme)} {_csp_hash(script)}"),  # noqa: S704 - base64
        data=Markup(script_json(page.payload)),  # noqa: S704 - made inert by script_json
    )


def _add_images(page: Page, room: int) -> bool:
    """Put images into the payload while there is room, failing cells first."""
    entries: Sequence[dict[str, Any]] = page.payload["cells"]
    pool: list[Any] = page.payload["pool"]
    places: dict[str, int] = {}  # image -> its place in the pool
    order = sorted(range(len(entries)), key=lambda i: _interest(page.cells[i]))
    for index in order:
        images = page.cells[index].images
        shown = []
        for image in images:
            cost = 200 + (0 if image.data in places else len(image.data))
            if cost > room:
                continue
            room -= cost
            if image.data not in places:
                places[image.data] = len(pool)
                pool.append(image.data)
            caption = visible(image.caption)
            shown.append([visible(image.name), image.mime, places[image.data], caption])
        if shown:
            entries[index]["images"] = shown
        if len(shown) < len(images):
            left_out = plural(len(images) - len(shown), "image")
            entries[index]["left_out"] = (
                f"{left_out} left out to keep this page small; results.json has it."
            )
    return any(cell.images for cell in page.cells)


def _interest(cell: CellRecord) -> tuple[bool, bool, float, str]:
    headroom = cell.headroom if cell.headroom is not None and cell.headroom >= 0 else 0.0
    return (not failed(cell), not ran(cell), -headroom, cell.cell_id)


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["shorten"] = _shorten
    return environment


def _shorten(label: str) -> str:
    return label.replace("onnxruntime", "ort").replace("torchscript", "ts")[:26]


def _breakable(name: str) -> Markup:
    """`name`, which may be broken after an underscore rather than anywhere."""
    return Markup("_<wbr>").join(name.split("_"))


def _template(name: str) -> str:
    return (
        files(__package__)
        .joinpath("page", "templates", name)
        .read_text(encoding="utf-8")
        .rstrip("\n")
    )


def _csp_hash(script: str) -> str:
    """The source expression that allows exactly this script (CSP level 2)."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
