"""What the report's command prints in a job of GitHub Actions."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.sample_results import sample_results
from poseconform.report.__main__ import main
from poseconform.results.results import write_results


def test_no_name_is_a_command_to_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    good, out = tmp_path / "good.json", tmp_path / "out\n::error::x"
    write_results(good, sample_results(4))
    assert main(["build", str(good), "--out", str(out)]) == 0
    assert main(["build", str(out / "not there")]) == 2
    printed = capsys.readouterr()
    assert printed.out.count("\n\\::error::x/") == 2
    assert printed.err.count("\n\\::error::x/not there") == 1
