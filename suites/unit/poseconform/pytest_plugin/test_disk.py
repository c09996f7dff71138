"""A full disk is refused before a run, and is one line after it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures.fake_subject import PLUGINS
from poseconform.isolation.artifacts import MANIFEST, ArtifactCache
from poseconform.pytest_plugin.controller import make_room

pytest_plugins = ["pytester"]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 99, 10_000_000))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match=r"found 0.01 GB free.*expected at least 0.5 GB"):
        make_room(tmp_path / "not" / "there", 1)


def test_the_cache_need_not_exist(tmp_path: Path) -> None:
    make_room(tmp_path / "not" / "there", 1)
    assert not (tmp_path / "not").exists()


def test_the_cache_is_brought_within_its_limit(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, object]:
        (folder / "a").write_bytes(b"abc")
        return {}

    folder = ArtifactCache(tmp_path).get_or_make("k", fill).path
    os.utime(folder / MANIFEST, (0, 0))
    make_room(tmp_path, 1)
    assert folder.exists()
    make_room(tmp_path, 0)
    assert not folder.exists()


@pytest.fixture
def matrix(inner_run: pytest.Pytester) -> pytest.Pytester:
    inner_run.makepyfile(test_cells="def test_one(cell): pass")
    return inner_run


@pytest.mark.usefixtures("full_disk")
def test_a_run_does_not_start_on_a_full_disk(matrix: pytest.Pytester) -> None:
    ended = matrix.runpytest_inprocess(*PLUGINS, "--artifact-cache", "cache")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines(["*--artifact-cache cache: found 0.01 GB free*"])


@pytest.mark.usefixtures("full_disk")
def test_a_run_without_cells_needs_no_cache(matrix: pytest.Pytester) -> None:
    matrix.makepyfile(test_others="def test_one(): pass")
    options = (*PLUGINS, "--artifact-cache", "/proc/cache")
    matrix.runpytest_inprocess(*options, "test_others.py").assert_outcomes(passed=1)
    assert matrix.runpytest_inprocess(*options, "--collect-only").ret == pytest.ExitCode.OK
    none = matrix.runpytest_inprocess(*options, "-k", "nothing_like_it")
    assert none.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_run_whose_tests_need_the_judge_alone_needs_its_cache(matrix: pytest.Pytester) -> None:
    matrix.makepyfile(test_cells="def test_one(conformance_model): pass")
    ended = matrix.runpytest_inprocess(*PLUGINS, "--artifact-cache", "/proc/cache")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("distributed", [(), ("-n", "1")], ids=["alone", "one-worker"])
def test_a_refused_run_leaves_nothing(
    matrix: pytest.Pytester, distributed: tuple[str, ...]
) -> None:
    options = ("--artifact-cache", "/proc/cache", "--report-dir", "report", *distributed)
    run = matrix.runpytest_subprocess if distributed else matrix.runpytest_inprocess
    ended = run(*PLUGINS, *options)
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines(["*--artifact-cache /proc/cache*"])
    assert {path.name for path in (matrix.path / "report").glob("*")} <= {"junit.xml"}


@pytest.mark.parametrize("option", ["--report-dir", "--repro-dir"])
@pytest.mark.parametrize("distributed", [(), ("-n", "1")])
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_run(
    matrix: pytest.Pytester, option: str, distributed: tuple[str, ...]
) -> None:
    (matrix.path / "taken").write_text("a file")
    run = matrix.runpytest_subprocess if distributed else matrix.runpytest_inprocess
    ended = run(*PLUGINS, option, "taken/here", *distributed)
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    line = f"ERROR: {option} taken/here: found */taken, which cannot be written to (Not a dir*"
    ended.stderr.fnmatch_lines([line])
    assert "Traceback" not in ended.stderr.str() + ended.stdout.str()
    assert "passed" not in ended.stdout.str()


def test_results_outlive_a_junit_file_that_cannot_be_written(matrix: pytest.Pytester) -> None:
    (matrix.path / "out" / "junit.xml").mkdir(parents=True)
    ended = matrix.runpytest_inprocess(*PLUGINS, "--report-dir", "out", "-k", "onnxruntime_static")
    assert ended.ret == pytest.ExitCode.INTERNAL_ERROR
    ended.stdout.fnmatch_lines(["*Is a directory: *out/junit.xml'"])
    assert "Traceback" not in ended.stderr.str() + ended.stdout.str()
    content = json.loads((matrix.path / "out" / "results.json").read_text())
    assert "pass" in {cell["outcome"] for cell in content["cells"]}


def test_a_report_that_cannot_be_written_is_one_line(matrix: pytest.Pytester) -> None:
    (matrix.path / "out" / "results.json").mkdir(parents=True)
    ended = matrix.runpytest_inprocess(*PLUGINS, "--report-dir", "out", "-k", "onnxruntime_static")
    assert ended.ret == pytest.ExitCode.INTERNAL_ERROR
    ended.stdout.fnmatch_lines(["*--report-dir out: the report could not be written:*directory*"])
    assert "Traceback" not in ended.stderr.str() + ended.stdout.str()


def test_results_outlive_a_disk_that_becomes_full(
    matrix: pytest.Pytester, small_disk: Path
) -> None:
    matrix.makepyfile(
        test_cells=f"""
        import contextlib, itertools
        from pathlib import Path

        TURNS = itertools.count()

        def test_one(cell):
            if next(TURNS) == 2:
                with contextlib.suppress(OSError), open({str(small_disk / "big")!r}, "wb") as big:
                    while True:
                        big.write(bytes(4096))
                        big.flush()
        """
    )
    ended = matrix.runpytest_inprocess(
        *PLUGINS, "--report-dir", str(small_disk / "out"), "-k", "onnxruntime"
    )
    assert "Traceback" not in ended.stderr.str() + ended.stdout.str()
    assert ended.ret == pytest.ExitCode.INTERNAL_ERROR
    printed = ended.stdout.str()
    assert "small/out: the report could not be written: [Errno 28]" in printed.replace("\n", "")
    assert "2 pass" in printed
    done = sorted(path.stem for path in (small_disk / "out" / "cells").glob("m1-*.json"))
    assert done == ["m1-simcc_onnxruntime_dynamic", "m1-simcc_onnxruntime_static"]
