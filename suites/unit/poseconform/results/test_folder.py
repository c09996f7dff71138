"""A run on disk: what is left of one that was killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poseconform.results.folder import (
    CellState,
    CollectedTest,
    RunFolder,
    RunRecord,
    export_counts,
)
from poseconform.results.records import CellRecord, StageRecord
from poseconform.results.results import ReportError


def cell(model: str, **fields: Any) -> CellRecord:
    return CellRecord(
        model=model, family="RTMPose", backend="onnxruntime", precision="fp32",
        shape_mode="static", deploy_config="c", **fields,
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert (folder.unfinished, folder.tests(), folder.cell("a")) == (False, {}, None)
    tests = {"t.py::test[a/b]": CollectedTest("a/b", "run", "a"), "t.py::test": CollectedTest()}
    folder.write_tests(tests)
    state = CellState(cell("a", headroom=float("inf")), ("t",), "u", "run", ("no-device", "none"))
    folder.write_cell("a/b", state)
    run = RunRecord({"cpu": {"count": 2}}, {"command": "pytest"}, (cell("a"),))
    folder.write_run(run)
    assert (folder.tests(), folder.cell("a/b"), folder.run()) == (tests, state, run)
    assert folder.unfinished
    folder.clear()
    assert not any(folder.path.iterdir())


def test_a_killed_run_is_finished_as_far_as_it_got(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    selected = [cell(name).with_outcome() for name in ("done", "bad", "half", "new")]
    left_out = cell("other").not_selected()
    folder.write_run(RunRecord({"os": "Linux"}, {"command": "x"}, (*selected, left_out)))
    exported = cell("done").with_stage(StageRecord("export", 2.0))
    folder.write_cell("done", CellState(exported.with_outcome()))
    crash = StageRecord("load", 0.0, "crash", "SIGSEGV in load")
    bad = cell("bad").with_stage(StageRecord("export")).with_stage(crash)
    folder.write_cell("bad", CellState(bad.with_outcome(unfinished="1 of 2"), running="t::x"))
    half = cell("half").with_stage(StageRecord("load")).with_outcome(unfinished="1 of 2")
    folder.write_cell("half", CellState(half, running="t::numbers", stage="numeric"))
    results = folder.finish()
    assert {c.model: c.outcome for c in results.cells} == {
        "done": "pass", "bad": "crash", "half": "missing", "new": "missing",
        "other": "not-selected",
    }  # fmt: skip
    assert results.interrupted == "it was killed, or is still running"
    assert (results.run["exports"], results.run["cache_hits"]) == (1, 1)
    assert results.environment == {"os": "Linux"}


def test_a_test_without_an_end_has_crashed_in_a_run_that_ended(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    run = RunRecord({}, {}, (cell("a"),))
    folder.write_cell("a", CellState(cell("a"), running="t::numbers", stage="numeric"))
    (record,) = folder.cells(run, interrupted=False)
    assert (record.outcome, record.reason) == ("crash", "the process died in t::numbers")
    (record,) = folder.cells(run, interrupted=True)
    assert record.outcome == "missing"


def test_exports_are_made_or_found() -> None:
    made, cached = (cell("a").with_stage(StageRecord("export", s)) for s in (1.0, 0.0))
    counts = export_counts([made, cached, replace(made, model="b"), cell("c")])
    assert counts == {"exports": 2, "cache_hits": 1}


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"run\.json: found no file of a run"):
        RunFolder(tmp_path).run()
    (tmp_path / "run.json").write_text('{"run": 3}')
    with pytest.raises(ReportError, match=r"\$\.environment: Field required"):
        RunFolder(tmp_path).finish()
