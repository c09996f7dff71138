"""The summary of a GitHub job, in Markdown.

Annotations of failing tests are made by `pytest-github-actions-annotate-failures`. The summary
goes to the file that `GITHUB_STEP_SUMMARY` names ("Workflow commands for GitHub Actions").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from poseconform.report.data.verdict import bad_cells, verdict_of
from poseconform.report.data.vocabulary import words_of
from poseconform.report.text.strings import (
    Inert,
    markdown,
    markdown_code,
    markdown_table,
    plural,
)
from poseconform.report.text.table import support_table
from poseconform.results.results import Results

MAX_ROWS = 50


def step_summary(results: Results) -> str:
    """The verdict, the support table and the failing cells, in Markdown."""
    verdict = verdict_of(results.cells, results.interrupted)
    lines = [f"## {markdown(verdict.headline)}", "", markdown(" ".join(verdict.details), 1000), ""]
    lines += [support_table(results), ""]
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
    """Write the summary where `environment` (of the process) asks for it.

    Raises:
        OSError: The summary's file cannot be written.
    """
    summary = environment.get("GITHUB_STEP_SUMMARY")
    if environment.get("GITHUB_ACTIONS") == "true" and summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(step_summary(results))
