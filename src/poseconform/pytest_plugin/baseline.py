"""A run against its baseline: which file that is, what is printed, and whether the run fails."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from poseconform.pytest_plugin.folders import names_folders
from poseconform.report.data.baseline import baseline_path, compare_with_baseline, update_baseline
from poseconform.report.data.diff import CHANGES, Diff, Finding
from poseconform.report.data.fingerprint import warp_note
from poseconform.report.text.github import diff_markdown
from poseconform.report.text.strings import one_line, plural
from poseconform.results.results import ReportError, Results, read_results
from poseconform.subject.loading import DEFAULT_SUBJECT, load_subject
from poseconform.subject.protocol import follows_house_rules
from posedeploy.runtime import Device

FOLDER = Path("reports/baselines")
MAX_LINES = 30  # of one kind; the report's page has them all
# What has a line of its own under the counts; the rest is in the report.
LISTED = (
    "newly-failing", "missing", "headroom", "keypoint error", "still-failing", "newly-passing",
)  # fmt: skip


def baseline_file(option: Any, root: Path) -> Path:
    """The baseline that the options name, or the one of this platform; it may not be there.

    A device has one of its own: its cells are those of the CPU's runs, with other results.
    Folders and other implementations have none of ours: whoever judges them again writes theirs.
    """
    named: Path | None = option.baseline
    if named is not None:
        return named
    subject = load_subject(getattr(option, "subject", DEFAULT_SUBJECT))
    other = "folders" if names_folders(option) else subject.name
    own = follows_house_rules(subject) and not names_folders(option)
    kind = Device.parse(option.device).kind if own else other
    here = {"os": platform.platform(), "cpu": {"machine": platform.machine()}}
    return baseline_path(root / FOLDER / ("" if kind == "cpu" else kind), here)


def check_options(option: Any, root: Path) -> None:
    """Raise a `pytest.UsageError` if a baseline that an option needs is missing, or is none."""
    if option.baseline is None and not option.fail_on_regression and not option.update_baseline:
        return
    path = baseline_file(option, root)
    if not path.exists():
        if option.update_baseline and not option.fail_on_regression:
            return
        which = "--fail-on-regression" if option.baseline is None else "--baseline"
        raise pytest.UsageError(
            f"{which}: no file {path}; make it from a good run with --update-baseline"
        )
    try:
        read_results(path)
    except ReportError as error:
        raise pytest.UsageError(str(error)) from error


def compare(results: Results, path: Path) -> tuple[Diff | None, str]:
    """What changed since the baseline in `path`, and '' or why it could not be compared."""
    try:
        return compare_with_baseline(results, path), ""
    except ReportError as error:  # only of a baseline that no option names: see check_options
        return None, str(error)


def summary_lines(diff: Diff, path: Path) -> Iterator[str]:
    """The counts in one line, then one line a change, the regressions first."""
    counts = ", ".join(f"{len(diff.of(kind))} {words}" for kind, words in CHANGES)
    yield f"against {path}: {counts}; {plural(len(diff.regressions), 'regression')}"
    if note := warp_note(diff.environment):
        yield f"  {note}"
    for kind in LISTED:
        findings = diff.of(kind)
        yield from (_line(finding) for finding in findings[:MAX_LINES])
        if len(findings) > MAX_LINES:
            yield f"  ... and {len(findings) - MAX_LINES} more: {kind}"


def _line(finding: Finding) -> str:
    cell, words = finding.cell, dict(CHANGES).get(finding.kind, f"{finding.kind} grew")
    change = f"{finding.before} -> {finding.after}"
    note = f" ({finding.note})" if finding.note else ""
    return "  " + one_line(f"{words}: {cell.model}, {cell.flow}: {change}{note}", 300)


def update(results: Results, path: Path, write_line: Callable[[str], None]) -> None:
    """Show what `results` change in the baseline `path`, then write it.

    A file there that is no `results.json` is a `ReportError`.
    """
    for line in diff_markdown(update_baseline(results, path, write=False)).splitlines():
        write_line(line)
    update_baseline(results, path, write=True)
    write_line(f"wrote {path}")
