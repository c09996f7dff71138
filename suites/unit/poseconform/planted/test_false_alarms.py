"""The run that must raise no alarm: what counts as one, and that silence is no success."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.sample_results import sample_results
from poseconform.results.results import new_results, write_results
from suites.defects import false_alarms

GOOD = next(c for c in sample_results(40).cells if c.outcome == "pass")


def cells(*outcomes: str) -> list[Any]:
    return [replace(GOOD, model=f"m{i}", outcome=o) for i, o in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "status", "said", "quiet"),
    [
        (("pass", "pass", "not-selected"), 0, "0 false alarms in 2 cells (2 pass)", True),
        (("pass", "xfail"), 0, "0 false alarms in 2 cells (1 pass, 1 xfail)", True),
        (("pass", "mismatch"), 1, "1 false alarms in 2 cells", False),
        (("pass", "failed:load", "crash"), 1, "2 false alarms in 3 cells", False),
        (("missing",), 1, "1 false alarms in 1 cells", False),
        (("pass",), 1, "0 false alarms in 1 cells (1 pass); pytest ended with 1", False),
        (("unavailable:no-device",), 0, "0 false alarms in 0 cells", False),
    ],
)
def test_a_run_is_quiet_if_cells_were_judged_and_none_failed(
    outcomes: tuple[str, ...], status: int, said: str, quiet: bool
) -> None:
    line, well = false_alarms.verdict(3, status, cells(*outcomes))
    assert line.startswith(f"run 3: {said}")
    assert well is quiet


def test_every_run_has_its_own_seed_images_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    calls = []

    def call(words: list[str]) -> int:
        calls.append(words)
        folder = Path(words[words.index("--report-dir") + 1])
        folder.mkdir(parents=True)
        outcome = "mismatch" if words[words.index("--weights-seed") + 1] == "4" else "pass"
        results = new_results(cells(outcome), environment={}, run={})
        write_results(folder / "results.json", results)
        return int(outcome != "pass")

    assert false_alarms.main(["--runs", "2,4", "--models", "quick"], call) == 1
    assert [c[c.index("--image-set") + 1] for c in calls] == ["2", "4"]
    assert all(c[-2:] == ["--models", "quick"] for c in calls)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "run 2: 0 false alarms in 1 cells (1 pass)",
        "run 4: 1 false alarms in 1 cells (1 mismatch)",
    ]
    data = json.loads((tmp_path / "reports/false-alarms/4/results.json").read_text())
    assert data["cells"][0]["outcome"] == "mismatch"


def test_a_run_that_wrote_nothing_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert false_alarms.main(["--runs", "1"], lambda _words: 0) == 1
