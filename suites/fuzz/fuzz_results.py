"""The reader of `results.json`: results or a ReportError, and every report can be made of them."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from poseconform.report.build import render_html
from poseconform.report.data.diff import diff_results
from poseconform.report.data.merge import merge_results
from poseconform.report.text.github import diff_markdown
from poseconform.report.text.table import support_table
from poseconform.results.results import ReportError, read_results, slim, write_results

_FOLDER = tempfile.TemporaryDirectory()


def one(data: bytes) -> None:
    """Read one file, and make every report of it."""
    path = Path(_FOLDER.name) / "results.json"
    path.write_bytes(data)
    try:
        results = read_results(path)
    except ReportError as error:
        str(error).encode()
        return
    render_html(results, slim(results)).encode()
    support_table(results).encode()
    diff_markdown(diff_results(slim(results), results)).encode()
    write_results(path, results)
    again = read_results(path)
    assert repr(again) == repr(results)
    with contextlib.suppress(ReportError):  # a file that was merged before has runners of its own
        render_html(merge_results({"a": results, "b": again})).encode()
