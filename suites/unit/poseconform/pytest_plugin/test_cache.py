"""The artifact cache in a run: what is made again is logged; what cannot be used is an error."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fixtures.fake_subject import PLUGINS
from poseconform.isolation.artifacts import MANIFEST

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.stage("run")
def test_runs(cell, judge):
    judge.cache.get_or_make(cell.id, lambda folder: {"of": cell.id})
"""
OPTIONS = ("--report-dir", "report", "--artifact-cache", "cache", "-m", "onnxruntime and static")


@pytest.fixture
def matrix(inner_run: pytest.Pytester) -> pytest.Pytester:
    inner_run.makepyfile(test_cells=TESTS)
    return inner_run


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "a-worker"])
def test_what_is_made_again_is_said_at_v(
    matrix: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    matrix.runpytest_inprocess(*PLUGINS, *OPTIONS).assert_outcomes(passed=2)
    place = matrix.path / "cache" / "m1-simcc_onnxruntime_static"
    run = matrix.runpytest_subprocess if workers else matrix.runpytest_inprocess
    for options in (("-v",), ()):
        (place / MANIFEST).write_text("")
        result = run(*PLUGINS, *OPTIONS, *options, *workers)
        result.assert_outcomes(passed=2)
        lines = [line for line in result.outlines if "manifest.json cannot be read" in line]
        assert len(lines) == len(options)
        assert all(line.startswith(f"cache/{place.name}: ") for line in lines)
        if workers:
            break  # a process each costs seconds


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a read-only file system")
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
def test_a_cache_that_cannot_be_written_to_is_refused_in_one_line(
    matrix: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    options = ("--report-dir", "report", "--artifact-cache", "/proc/cache", *workers)
    run = matrix.runpytest_subprocess if workers else matrix.runpytest_inprocess
    result = run(*PLUGINS, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line)
    assert line.startswith("ERROR: --artifact-cache /proc/cache: found /proc, which cannot be")
    assert "POSECONFORM_CACHE" in line
    assert not (matrix.path / "report" / "results.json").exists()


def test_a_cache_that_breaks_in_a_run_is_one_line_a_test(matrix: pytest.Pytester) -> None:
    breaking = "    judge.cache.root.rmdir(); judge.cache.root.write_text('x')\n"
    head, _, tail = TESTS.rpartition("    judge")
    matrix.makepyfile(
        test_cells=f"{head}    if not judge.cache.root.is_file():\n"
        f"        judge.cache.root.mkdir()\n    {breaking.replace('; ', chr(10) + '        ')}"
        f"    judge{tail}"
    )
    result = matrix.runpytest_inprocess(*PLUGINS, *OPTIONS)
    result.assert_outcomes(failed=2)
    results = json.loads((matrix.path / "report" / "results.json").read_text())
    reasons = {c["reason"] for c in results["cells"] if c["outcome"] == "failed:run"}
    (reason,) = reasons
    assert reason.startswith("artifact cache cache: found ")
    tree = ElementTree.parse(matrix.path / "report" / "junit.xml").getroot()  # noqa: S314 - ours
    for failure in tree.iter("failure"):
        assert (failure.text or "").startswith("artifact cache cache: found ")
        assert "Traceback" not in (failure.text or "")
        assert "artifacts.py" not in (failure.text or "")
