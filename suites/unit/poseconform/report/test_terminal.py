"""The summary in a terminal, without color, in ASCII, and on a narrow screen."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from fixtures.sample_results import sample_results
from poseconform.report.data.verdict import verdict_of
from poseconform.report.text import strings
from poseconform.report.text.terminal import MAX_FAILURES, print_summary
from poseconform.results.records import PixelError
from poseconform.results.results import Results


def summary(results: Results, width: int = 120, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    print_summary(results, Console(file=stream, width=width))
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_it_says_what_failed_why_and_how_to_see_it_again() -> None:
    results = sample_results(60)
    summary_text = summary(results)
    assert summary_text.splitlines()[0] == verdict_of(results.cells).headline
    assert "✓ pass" in summary_text
    good = next(c for c in results.cells if c.outcome == "pass")
    error = good.keypoint_error_px
    assert error is not None
    assert f"{strings.pixels(error.max)} px h {strings.headroom(good.headroom)}" in summary_text
    assert "tensorrt: 12 cells unavailable: no-device (no NVIDIA device was found)" in summary_text
    bad = next(c for c in results.cells if c.outcome == "crash")
    crash = summary_text.index(f"‼ crash: SIGSEGV  {bad.model} \N{MULTIPLICATION SIGN} {bad.flow}")
    assert crash < summary_text.rindex("≠ mismatch  ") < summary_text.rindex("? missing")
    commands = [c.repro for c in results.cells if c.outcome in {"crash", "mismatch"}]
    assert commands
    assert all(command in summary_text for command in commands)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_of_the_matrix_is_wider_than_the_terminal(width: int) -> None:
    summary_text = summary(sample_results(60), width)
    matrix = summary_text.split("tensorrt:")[0]
    assert max(len(line) for line in matrix.splitlines()) <= width
    if width >= 80:
        assert all(c.model in summary_text for c in sample_results(60).cells)


def test_ascii_terminals_get_ascii() -> None:
    cell = replace(sample_results(1).cells[0], model="modèle", outcome="crash", stages=())
    infinite = replace(cell, keypoint_error_px=PixelError(max=float("inf")), reason="“why”")
    summary_text = summary(replace(sample_results(1), cells=(infinite,)), encoding="ascii")
    assert "!! crash" in summary_text
    assert "mod\\xe8le x onnxruntime-fp32-static" in summary_text
    assert "inf px" in summary_text


def test_escapes_and_markup_do_nothing() -> None:
    evil = "[red]\x1b[2J[/red]"
    cell = replace(
        sample_results(1).cells[0], model=evil, reason=evil, repro=evil, outcome="crash"
    )
    summary_text = summary(replace(sample_results(1), cells=(replace(cell, stages=()),)))
    assert "\x1b" not in summary_text
    assert "[red]\\u001b[2J[/red]" in summary_text


def test_notes_are_told_once_and_whose_work_was_judged() -> None:
    good = next(c for c in sample_results(60).cells if c.outcome == "pass")
    noted = [
        replace(good, model=name, implementation="folder", notes=("opset 11", f"only {name}"))
        for name in ("a", "b")
    ]
    text = summary(Results(environment={}, cells=tuple(noted)))
    assert text.count("note: opset 11 (2 cells)") == 1
    assert f"note: only a (a, {good.flow})" in text
    assert "Judged: folder." in text
    assert "2 cells with notes, which make no result wrong." in text
    ours = summary(Results(environment={}, cells=(good,)))
    assert "note" not in ours
    assert "Judged" not in ours


def test_many_failures_are_cut() -> None:
    cells = tuple(replace(c, outcome="crash", stages=()) for c in sample_results(80).cells)
    summary_text = summary(replace(sample_results(80), cells=cells))
    assert f"... and {80 - MAX_FAILURES} cells more, in the report." in summary_text


def test_a_run_of_nothing_is_summarized() -> None:
    assert summary(Results(environment={}, cells=())).strip() == "There are no cells."
