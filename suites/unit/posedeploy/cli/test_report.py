"""`posedeploy report`: arguments, help and exit codes are those of the judge's command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.text import Text

from fixtures.sample_results import sample_results
from poseconform.results.results import write_results
from posedeploy.cli import main
from posedeploy.cli.judge import REPORT_NEEDS
from posedeploy.errors import UnavailableError


def posedeploy(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, words)))
    return int(caught.value.code or 0)


def test_a_report_is_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = write_results(tmp_path / "results.json", sample_results(12))
    assert posedeploy("report", "build", source, "--out", tmp_path / "page") == 0
    assert f"wrote {tmp_path / 'page' / 'index.html'}" in capfd.readouterr().out
    assert (tmp_path / "page" / "support-table.md").is_file()


def test_the_exit_code_of_a_regression_and_of_bad_input_get_through(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = write_results(tmp_path / "old.json", sample_results(60))
    new = write_results(tmp_path / "new.json", sample_results(60, seed=1))
    assert posedeploy("report", "diff", old, new) == 1
    assert "Newly failing" in capfd.readouterr().out
    assert posedeploy("report", "diff", old, old) == 0
    assert posedeploy("report", "build", tmp_path / "nowhere.json") == 2
    assert "no readable text file" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("report", "--help"), ("build", "diff", "merge", "table", "baseline")),
        (("report", "baseline", "--help"), ("--folder", "--update")),
        (("--help",), ("report",)),
    ],
)
def test_help(
    capfd: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    printed: tuple[str, ...],
) -> None:
    assert posedeploy(*words) == 0
    out = Text.from_ansi(capfd.readouterr().out).plain  # Typer colors it in GitHub Actions
    assert [word for word in printed if word not in out] == []


@pytest.mark.parametrize("gone", [name for name, _, _ in REPORT_NEEDS])
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gone: str
) -> None:
    monkeypatch.setitem(sys.modules, gone, None)
    assert posedeploy("report", "build", "x.json") == UnavailableError.exit_code
    printed = " ".join(capsys.readouterr().err.split())
    assert "posedeploy report" in printed
    assert f"no package '{gone}'" in printed
    assert "pip install" in printed
