"""The README's support table is the one that this platform's baseline and the zoo's make."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from poseconform.pytest_plugin.baseline import baseline_file
from poseconform.report.text.table import update_table
from poseconform.results.results import read_results

ROOT = Path(__file__).parents[2]


def test_the_table_is_current() -> None:
    path = baseline_file(SimpleNamespace(baseline=None, device=""), ROOT)
    if not path.exists():
        pytest.skip(
            f"missing:baseline: no {path.relative_to(ROOT)}; a run with --update-baseline makes it"
        )
    files = [file for file in (path, path.parent / "zoo" / path.name) if file.exists()]
    found = [read_results(file) for file in files]
    assert update_table(ROOT / "README.md", *found, check=True), (
        f"README.md is out of date: python -m poseconform.report table "
        f"{' '.join(str(file.relative_to(ROOT)) for file in files)} --into README.md"
    )
