"""What GitHub shows of a run: annotations of failing cells, and a summary of the job.

The forms are those of GitHub's documentation: "Workflow commands for GitHub Actions" (the
`error` command and how its values are escaped) and the file that `GITHUB_STEP_SUMMARY` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from poseconform.report.data.results import Results
from poseconform.report.data.vocabulary import failed, kind_of, severity, words_of
from poseconform.report.page.grid import verdict_of
from poseconform.report.text.strings import markdown, markdown_code, one_line, plural
from poseconform.report.text.table import support_table
from poseconform.results.outcome import CellRecord

MAX_ANNOTATIONS = 10  # GitHub shows no more of one step
MAX_ROWS = 50


def error_commands(results: Results) -> Iterator[str]:
    """One workflow command a failing cell, the worst first."""
    for cell in _failing(results)[:MAX_ANNOTATIONS]:
        title = f"{words_of(cell.outcome)}: {cell.model}, {cell.flow}"
        message = "\n".join(one_line(part, 500) for part in (cell.reason, cell.repro) if part)
        yield f"::error title={_property(one_line(title))}::{_data(message or title)}"


def step_summary(results: Results) -> str:
    """The verdict, the support table and the failing cells, in Markdown."""
    verdict = verdict_of(results.cells)
    lines = [f"## {markdown(verdict.headline)}", "", markdown(" ".join(verdict.details)), ""]
    lines += [support_table(results), ""]
    failing = _failing(results)
    if failing:
        lines += ["| Model | Flow | Outcome | Reason | Run again |", "|:--|:--|:--|:--|:--|"]
        lines += [_row(cell) for cell in failing[:MAX_ROWS]]
    if len(failing) > MAX_ROWS:
        lines += [
            "",
            f"\N{HORIZONTAL ELLIPSIS} and {plural(len(failing) - MAX_ROWS, 'cell')} more.",
        ]
    return "\n".join(lines).rstrip() + "\n"


def publish(results: Results, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Write the summary where `environment` (of the process) asks for it.

    Returns:
        The annotations, for standard output; nothing outside of GitHub.

    Raises:
        OSError: The summary's file cannot be written.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return ()
    summary = environment.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(step_summary(results))
    return tuple(error_commands(results))


def _failing(results: Results) -> list[CellRecord]:
    bad = [c for c in results.cells if failed(c) or kind_of(c.outcome) == "missing"]
    return sorted(bad, key=lambda c: (severity(c.outcome), c.cell_id))


def _row(cell: CellRecord) -> str:
    texts = (cell.model, cell.flow, words_of(cell.outcome), cell.reason)
    again = markdown_code(cell.repro) if cell.repro else ""
    return "| " + " | ".join([*(markdown(text) for text in texts), again]) + " |"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
