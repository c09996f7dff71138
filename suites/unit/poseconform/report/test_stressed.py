"""The report says on which ranges a cell was judged, and what was found."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from fixtures.sample_results import sample_results
from poseconform.report.page.payload import facts_of
from poseconform.report.text.github import step_summary
from poseconform.report.text.stressed import result_of, stressed_rows
from poseconform.report.text.terminal import print_summary
from poseconform.results.records import CELL_RECORD, CellRecord, PixelError, StressRecord

HOLDS = StressRecord("head.mlp.0", 2341.04, 0.274, PixelError(0.0, 0.5, 1.0))
FAILS = StressRecord("head.mlp.0", 292.6, failure="simcc_x: constant")
CELL = CellRecord(
    model="rtmpose_t", family="RTMPose", backend="onnxruntime", precision="fp16",
    shape_mode="static", deploy_config="c", outcome="pass", headroom=0.27,
    keypoint_error_px=PixelError(0.0, 0.5, 1.0), stressed=(HOLDS, FAILS),
)  # fmt: skip


def test_a_record_survives_json() -> None:
    assert CELL_RECORD.validate_json(CELL_RECORD.dump_json(CELL)) == CELL


def test_what_holds_shows_its_errors_and_what_fails_its_reason() -> None:
    assert result_of(HOLDS) == "2,341: \u2713 1.00 px, h 0.27"
    assert result_of(FAILS, ascii_only=True) == "293: # simcc_x: constant"
    assert list(stressed_rows([replace(CELL, stressed=())])) == []


def test_the_page_the_terminal_and_the_summary_have_it() -> None:
    assert dict(facts_of(CELL))["|x| in front of ScaleNorm"].startswith("2,341: ")
    results = replace(sample_results(), cells=(CELL,))
    stream = io.StringIO()
    print_summary(results, Console(file=stream, width=140))
    first, second = (
        line for line in stream.getvalue().splitlines() if "2,3" in line or "293" in line
    )
    assert "onnxruntime-fp16-static" in first
    assert second.strip() == "293: \u2260 simcc_x: constant"
    summary = step_summary(results)
    assert "| Model | Flow | Plain weights | \\|x\\| in front of ScaleNorm |" in summary
