"""The report files: `index.html` and `support-table.md`, from `results.json` alone.

The page is one file: it loads nothing, and its content security policy forbids it to.  The same
results give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import count, groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from poseconform.report.data.baseline import comparable
from poseconform.report.data.diff import change_counts, changes
from poseconform.report.data.fingerprint import groups_of, one_liner
from poseconform.report.data.planted import planted_of, trust_of, without_planted
from poseconform.report.data.verdict import counts, disagreeing, lone_failures, verdict_of
from poseconform.report.data.vocabulary import (
    BACKENDS,
    FAMILIES,
    OUTCOMES,
    PRECISIONS,
    SHAPES,
    backend_name,
    failed,
    in_order,
    look_of,
    ran,
)
from poseconform.report.page.charts import LEFT, TOP, WIDTH, charts_of
from poseconform.report.page.grid import Grid, grid_of, idle_columns
from poseconform.report.page.payload import payload_of, script_json
from poseconform.report.text.strings import (
    duration,
    headroom,
    number,
    one_line,
    pixels,
    plural,
    points,
    visible,
)
from poseconform.report.text.table import support_table
from poseconform.results.records import CellRecord
from poseconform.results.results import Results, read_results
from posedeploy.paths import write_text

PAGE_LIMIT = 1_400_000  # bytes that images may fill a page to; a mail or a wiki takes that much
IMAGES_LIMIT = 500_000  # bytes of images alone: those of every failing cell of a bad run
GROUPED_FROM = 60  # models; more rows than two screens have are shown by family
CHANGE_MARKS = {
    "newly-failing": "new", "newly-passing": "fixed", "still-failing": "still",
    "missing": "gone", "new": "added",
}  # fmt: skip


def build_report(
    results_path: Path, out_dir: Path, *, baseline_path: Path | None = None
) -> tuple[Path, Path]:
    """Write `index.html` and `support-table.md` for the file `results_path` into `out_dir`.

    Changes against the results in `baseline_path` are marked on the page.
    """
    results = read_results(results_path)
    baseline = None if baseline_path is None else comparable(read_results(baseline_path), results)
    out_dir.mkdir(parents=True, exist_ok=True)
    html, table = out_dir / "index.html", out_dir / "support-table.md"
    write_text(html, render_html(results, baseline))
    write_text(table, support_table(results))
    return html, table


def render_html(
    results: Results, baseline: Results | None = None, *, limit: int = PAGE_LIMIT
) -> str:
    """The page as HTML, changes against `baseline` marked; images fill it to `limit` bytes."""
    grid = grid_of(results.cells)
    changed = {} if baseline is None else changes(baseline, results)
    lone = lone_failures(results.cells)
    payload = payload_of(grid, changed, lone)
    page = {
        "title": "Compatibility report",
        "created": visible(results.created),
        "verdict": verdict_of(results.cells, results.interrupted),
        "tally": [(look_of(kind), n) for kind, n in counts(results.cells).items()],
        "trust": trust_of(results.run),
        "planted": planted_of(results.run),
        "baseline": () if baseline is None else change_counts(changed),
        "environment": one_liner(results.environment),
        "run": _run_lines(results.run),
        "choices": _choices(results.cells),
        "flags": _flags(grid, lone, compared=baseline is not None),
        "groups": [
            (visible(name), len(list(columns)))
            for name, columns in groupby(backend_name(c.backend) for c in grid.columns)
        ],
        "columns": grid.columns,
        "lines": _lines(grid, changed),
        "families": _families(grid) if len(grid.rows) >= GROUPED_FROM else {},
        "legend": OUTCOMES,
        "fingerprint": groups_of(results.environment, without_planted(results.run)),
    }
    strips, bars = charts_of(grid)
    page |= {"strips": strips, "bars": bars, "left": LEFT, "width": WIDTH, "top": TOP}
    without_images = _render(page, payload)
    room = min(IMAGES_LIMIT, limit - len(without_images.encode()))
    _add_images(grid.cells, payload, room)
    return _render(page, payload) if any(c.images for c in grid.cells) else without_images


def _render(page: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    script, theme = _template("app.js"), _template("theme.js")
    return _page().render(
        page=page,
        style=Markup(_template("style.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        theme_script=Markup(theme),  # noqa: S704 - our own file
        icons=Markup(_template("icons.svg")),  # noqa: S704 - our own file
        script_hashes=Markup(f"{_csp_hash(theme)} {_csp_hash(script)}"),  # noqa: S704 - base64
        data=Markup(script_json(payload)),  # noqa: S704 - made inert by script_json
    )


@cache
def _page() -> Template:
    """The page's template, compiled once."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "shorten": _shorten, "visible": visible}
    return environment.get_template("index.html.j2")


def _add_images(cells: Sequence[CellRecord], payload: Mapping[str, Any], room: int) -> None:
    """Put images into the payload while there is room, failing cells first."""
    pool: list[Any] = payload["pool"]
    indices: dict[str, int] = {}  # image -> its index in the pool
    for cell, entry in sorted(zip(cells, payload["cells"], strict=True), key=_interest):
        shown = []
        for image in cell.images:
            cost = 200 + (0 if image.data in indices else len(image.data))
            if cost > room:
                continue
            room -= cost
            if image.data not in indices:
                indices[image.data] = len(pool)
                pool.append(image.data)
            caption = visible(image.caption)
            shown.append([visible(image.name), image.mime, indices[image.data], caption])
        if shown:
            entry["images"] = shown
        if left_out := len(cell.images) - len(shown):
            images = plural(left_out, "image")
            entry["left_out"] = f"{images} left out to keep this page small; results.json has it."


def _interest(cell_and_entry: tuple[CellRecord, Any]) -> tuple[bool, bool, float, str]:
    cell = cell_and_entry[0]
    room = cell.headroom if cell.headroom is not None and cell.headroom >= 0 else 0.0
    return (not failed(cell), not ran(cell), -room, cell.cell_id)


def _lines(grid: Grid, changed: Mapping[str, str]) -> list[tuple[str, str, list[Any]]]:
    """Family, model and cells of each row of the matrix."""
    index = count()  # of a cell in the payload
    return [
        (
            visible(row.family),
            visible(row.model),
            [[_brief(cell, next(index), changed) for cell in group] for group in row.groups],
        )
        for row in grid.rows
    ]


def _families(grid: Grid) -> dict[str, dict[str, Any]]:
    """Of each family in a large matrix: its models, kinds of heads, outcomes with counts."""
    families = {}
    for family, group in groupby(grid.rows, lambda row: row.family):
        rows = list(group)
        cells = [cell for row in rows for part in row.groups for cell in part]
        families[visible(family)] = {
            "models": plural(len(rows), "model"),
            "heads": visible(", ".join(sorted({cell.head for cell in cells if cell.head}))),
            "tally": [(look_of(kind), n) for kind, n in counts(cells).items()],
        }
    return families


def _brief(cell: CellRecord, index: int, changed: Mapping[str, str]) -> dict[str, Any]:
    """A cell as the matrix shows it."""
    mark = CHANGE_MARKS.get(changed.get(cell.cell_id, ""))
    room = cell.headroom
    filled = "100" if room is None or not 0 <= room < 1 else f"{round(100 * room)}"  # per cent
    return {
        "index": index,
        "look": look_of(cell.outcome),
        "detail": one_line(cell.outcome.partition(":")[2] or cell.code, 40),
        "mark": mark or ("split" if disagreeing(cell) else ""),
        "pixels": "" if cell.worst_px is None else f"{pixels(cell.worst_px)} px",
        "points": points(cell.accuracy.points_lost if cell.accuracy else None),
        "headroom": "" if room is None else headroom(room),
        "fill": filled,
        "latency": "" if cell.median_ms is None else f"{number(cell.median_ms)} ms",
    }


def _choices(cells: Sequence[CellRecord]) -> list[tuple[str, str, list[str]]]:
    """The filters with a list: name in the hash, label, values."""
    rows = (
        ("family", "Family", in_order((c.family for c in cells), FAMILIES)),
        ("model", "Model", in_order(c.model for c in cells)),
        ("backend", "Backend", in_order((c.backend for c in cells), tuple(BACKENDS))),
        ("precision", "Precision", in_order((c.precision for c in cells), PRECISIONS)),
        ("shape", "Shape", in_order((c.shape_mode for c in cells), SHAPES)),
    )
    return [(name, label, [visible(v) for v in values]) for name, label, values in rows]


def _flags(grid: Grid, lone: Collection[str], *, compared: bool) -> list[tuple[str, str]]:
    """The filters that are on or off: name in the hash and label, those that would find a cell."""
    rows = (
        ("changed", "changed", compared),
        ("lone", "only one backend fails", bool(lone)),
        ("idle", "flows not selected", bool(idle_columns(grid))),
        ("split", "runners disagree", any(disagreeing(cell) for cell in grid.cells)),
    )
    return [(name, label) for name, label, useful in rows if useful]


def _run_lines(run: Mapping[str, Any]) -> list[str]:
    seconds = run.get("seconds")
    lines = [f"took {duration(float(seconds))}"] if isinstance(seconds, int | float) else []
    for key, noun in (("exports", "export"), ("cache_hits", "cache hit")):
        if isinstance(run.get(key), int):
            lines.append(plural(run[key], noun))
    return lines


def _shorten(label: str) -> str:
    return label.replace("onnxruntime", "ort").replace("torchscript", "ts")[:26]


def _breakable(name: str) -> Markup:
    """`name`, which may be broken after an underscore rather than anywhere."""
    return Markup("_<wbr>").join(name.split("_"))


def _template(name: str) -> str:
    path = files(__package__).joinpath("page", "templates", name)
    return path.read_text(encoding="utf-8").rstrip("\n")


def _csp_hash(script: str) -> str:
    """The source expression that allows exactly this script (CSP level 2)."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
