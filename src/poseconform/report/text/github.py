"""Markdown for GitHub: the summary of a job, and a diff for a pull request.

Annotations of failing tests are made by `pytest-github-actions-annotate-failures`. The summary
goes to the file that `GITHUB_STEP_SUMMARY` names ("Workflow commands for GitHub Actions").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from poseconform.report.data.diff import THRESHOLDS, Diff, Finding, Threshold
from poseconform.report.data.fingerprint import warp_note
from poseconform.report.data.verdict import bad_cells, verdict_of
from poseconform.report.data.vocabulary import words_of
from poseconform.report.text.stressed import HEAD, stressed_rows
from poseconform.report.text.strings import Inert, markdown, markdown_code, markdown_table, plural
from poseconform.report.text.table import support_table
from poseconform.results.results import Results

MAX_ROWS = 50  # of a summary
MAX_DIFF_ROWS = 40  # a comment on a forge holds some 65,000 characters

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


def step_summary(results: Results) -> str:
    """The verdict, the support table and the failing cells, in Markdown."""
    verdict = verdict_of(results.cells, results.interrupted)
    lines = [f"## {markdown(verdict.headline)}", "", markdown(" ".join(verdict.details), 1000), ""]
    lines += [support_table(results), ""]
    if stressed := markdown_table(tuple(map(markdown, HEAD)), stressed_rows(results.cells)):
        lines += [*stressed, ""]
    bad = bad_cells(results.cells)
    lines += markdown_table(
        ("Model", "Flow", "Outcome", "Reason", "Run again"),
        [
            (c.model, c.flow, words_of(c.outcome), c.reason, Inert(markdown_code(c.repro)))
            for c in bad[:MAX_ROWS]
        ],
    )
    if len(bad) > MAX_ROWS:
        more = plural(len(bad) - MAX_ROWS, "cell")
        lines += ["", f"\N{HORIZONTAL ELLIPSIS} and {more} more."]
    return "\n".join(lines).rstrip() + "\n"


def publish(results: Results, environment: Mapping[str, str]) -> None:
    """Write the summary where `environment` (of the process) asks for it."""
    summary = environment.get("GITHUB_STEP_SUMMARY")
    if environment.get("GITHUB_ACTIONS") == "true" and summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(step_summary(results))


def diff_markdown(diff: Diff) -> str:
    """`diff` as Markdown, regressions first, empty sections left out, ending with a newline."""
    count = len(diff.regressions)
    cells = len({f.cell.cell_id for f in diff.regressions})
    regressions = f"{plural(count, 'regression')} in {plural(cells, 'cell')}"
    lines = [f"## {regressions if count else 'No regression'}", ""]
    if diff.subjects:
        lines.append(markdown(diff.subjects, 1000))
    lines.append(f"{plural(diff.compared, 'cell')} ran in both.")
    if not diff.timed:
        lines.append("Latencies were not compared: the runs are of different machines.")
    if note := warp_note(diff.environment):
        lines.append(note)
    lines.append("")
    for kind, title in _SECTIONS:
        lines += _section(title, THRESHOLDS.get(kind), diff.of(kind))
    if diff.environment:
        count = len(diff.environment)
        lines += [f"<details><summary>Environment: {plural(count, 'difference')}</summary>", ""]
        lines += markdown_table(("Fact", "Before", "After"), diff.environment[:MAX_DIFF_ROWS], 80)
        lines += ["", "</details>"]
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, limit: Threshold | None, findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    mark = " \N{EM DASH} regression" if any(f.regression for f in findings) else ""
    yield from (f"### {title} ({len(findings)}){mark}", "")
    if limit is not None:
        grew = f"By more than a factor of {limit.factor:g} and to more than {limit.minimum:g}"
        yield from (f"{grew}: {limit.reason}.", "")
    rows = sorted(findings, key=lambda f: f.cell.cell_id)
    yield from markdown_table(
        ("Model", "Flow", "Before", "After", "Note"),
        [
            (f.cell.model, f"{f.cell.flow} {f.cell.exporter}".strip(), f.before, f.after, f.note)
            for f in rows[:MAX_DIFF_ROWS]
        ],
    )
    if len(rows) > MAX_DIFF_ROWS:
        yield from ("", f"\N{HORIZONTAL ELLIPSIS} and {len(rows) - MAX_DIFF_ROWS} more.")
    commands = [f.cell.repro for f in rows if f.regression and f.cell.repro]
    if commands:
        yield from ("", "Run again:", "")
        yield from (f"- {markdown_code(command)}" for command in commands[:MAX_DIFF_ROWS])
    yield ""
