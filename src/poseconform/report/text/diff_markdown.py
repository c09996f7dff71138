"""A diff as Markdown for a pull request: regressions first, empty sections left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from poseconform.report.data.diff import THRESHOLDS, Diff, Finding
from poseconform.report.text.strings import markdown_code, markdown_table, plural

MAX_ROWS = 40  # a comment on a forge holds some 65,000 characters

_SECTIONS = (
    ("newly-failing", "Newly failing"),
    ("missing", "No longer run"),
    ("headroom", "Headroom grew"),
    ("keypoint error", "Keypoint error grew (px, worst)"),
    ("still-failing", "Still failing"),
    ("newly-passing", "Newly passing"),
    ("outcome", "Other changes of outcome"),
    ("latency", "Slower (ms, median)"),
    ("size", "Larger"),
    ("graph", "Graphs that changed"),
    ("checkpoint", "Checkpoints that changed"),
    ("new", "New cells"),
)


def diff_markdown(diff: Diff) -> str:
    """`diff` as Markdown, ending with a newline."""
    return "\n".join([*_head(diff), *_body(diff), *_environment(diff)]).rstrip() + "\n"


def _head(diff: Diff) -> Iterator[str]:
    count = len(diff.regressions)
    cells = len({f.cell.cell_id for f in diff.regressions})
    if count:
        yield f"## {plural(count, 'regression')} in {plural(cells, 'cell')}"
    else:
        yield "## No regression"
    yield ""
    yield f"{plural(diff.compared, 'cell')} ran in both."
    if not diff.timed:
        yield "Latencies were not compared: the runs are of different machines."
    yield ""


def _body(diff: Diff) -> Iterator[str]:
    for kind, title in _SECTIONS:
        found = sorted(diff.of(kind), key=lambda f: f.cell.cell_id)
        if not found:
            continue
        mark = " \N{EM DASH} regression" if any(f.regression for f in found) else ""
        yield f"### {title} ({len(found)}){mark}"
        if kind in THRESHOLDS:
            limit = THRESHOLDS[kind]
            yield ""
            yield (
                f"By more than a factor of {limit.factor:g} and to more than {limit.least:g}: "
                f"{limit.reason}."
            )
        yield ""
        yield from _rows(found)
        yield ""


def _rows(found: Sequence[Finding]) -> Iterator[str]:
    yield from markdown_table(
        ("Model", "Flow", "Before", "After", "Note"),
        [
            (f.cell.model, f"{f.cell.flow} {f.cell.exporter}".strip(), f.before, f.after, f.note)
            for f in found[:MAX_ROWS]
        ],
    )
    if len(found) > MAX_ROWS:
        yield ""
        yield f"\N{HORIZONTAL ELLIPSIS} and {len(found) - MAX_ROWS} more."
    commands = [f.cell.repro for f in found if f.regression and f.cell.repro]
    if commands:
        yield ""
        yield "Run again:"
        yield ""
        yield from (f"- {markdown_code(command)}" for command in commands[:MAX_ROWS])


def _environment(diff: Diff) -> Iterator[str]:
    if not diff.environment:
        return
    yield f"<details><summary>Environment: {plural(len(diff.environment), 'difference')}</summary>"
    yield ""
    yield from markdown_table(("Fact", "Before", "After"), diff.environment[:MAX_ROWS], 80)
    yield ""
    yield "</details>"
