"""Exceptions that are none of ours: one line, a log, exit code 70, and a traceback on demand."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from posedeploy.cli.app import run, split_debug
from posedeploy.cli.internal import FOLDERS, INTERNAL, KEPT, internal_line, write_log
from posedeploy.compat import StandInUsedError
from posedeploy.errors import ConversionError

MANY_LINES = "one line\n::error::two\nthree"


def stopping_with(error: BaseException) -> Callable[..., None]:
    def command(**_: object) -> None:
        raise error

    return command


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def end(error: BaseException, *words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        run(words, stopping_with(error))
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    "error",
    [
        AssertionError(), IndexError("index 15 is out of bounds"), KeyError("x"),
        ModuleNotFoundError("No module named 'x'", name="x"), OSError(errno.EINVAL, "no file"),
        RecursionError(), RuntimeError(MANY_LINES), UnicodeError("x"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_one_line_and_a_log(
    error: Exception, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(error, "convert", "model.py", "photo\udcff.png") == INTERNAL == 70
    (log,) = (cache / "errors").iterdir()
    out, err = capsys.readouterr()
    name = type(error).__name__
    assert (out, err) == (
        "",
        f"internal error: posedeploy convert stopped with {name}; the log is {log}: report this "
        "with it.\n",
    )
    text = log.read_text(encoding="utf-8")
    assert r"['posedeploy', 'convert', 'model.py', 'photo\udcff.png']" in text
    assert "Traceback (most recent call last)" in text
    assert f"python: {sys.version.split()[0]}" in text
    assert "typer: " in text


def test_the_stage_is_named() -> None:
    error = RuntimeError("x")
    error.stage = "export"  # type: ignore[attr-defined]
    line = internal_line(error, ["convert"], Path("a.log"))
    assert "stopped with RuntimeError, while at 'export'; the log is a.log" in line


@pytest.mark.parametrize("words", [("--debug", "convert", "a"), ("convert", "a", "--debug")])
def test_debug_shows_the_traceback_as_well(
    words: tuple[str, ...], cache: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert end(RuntimeError(MANY_LINES), *words) == 70
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "\n\\::error::two" in err  # no command of the runner's
    assert "internal error: posedeploy convert" in err
    assert end(ConversionError("export", "subject", "a", "b", "c"), *words) == 1
    err = capsys.readouterr().err
    assert "ConversionError" in err
    assert "error: subject" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["convert", "a"], (False, ["convert", "a"])),
        (["a", "--debug", "b"], (True, ["a", "b"])),
        (["a", "--", "--debug"], (False, ["a", "--", "--debug"])),
        (["test", "--debug"], (False, ["test", "--debug"])),
        (["--debug", "test", "--debug"], (True, ["test", "--debug"])),
    ],
)
def test_whose_option_it_is(words: list[str], expected: tuple[bool, list[str]]) -> None:
    assert split_debug(words) == expected


@pytest.mark.parametrize(
    ("error", "found"),
    [(MemoryError(), "no memory left"), (StandInUsedError("Install mmdet."), "Install mmdet.")],
)
def test_what_the_machine_lacks_is_no_internal_error(
    error: Exception, found: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(error, "convert") == 3
    assert f"found:    {found}" in capsys.readouterr().err
    assert not cache.exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_interruptions_keep_their_codes(error: BaseException, code: int, cache: Path) -> None:
    script = (
        "import sys, typer; from posedeploy.cli.app import run\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\n"
        f"@app.command()\ndef stop(): raise {error!r}\nrun([], app)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not cache.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_reader_that_leaves_is_no_internal_error(cache: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "posedeploy", "configs", "list", "--json"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "internal error" not in process.stderr.read()
    assert process.returncode == 1
    assert not cache.exists()


def test_places_that_cannot_be_written_to_do_not_hide_the_error(
    tmp_path: Path, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(read_only))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    log = write_log(ValueError("x"), [])
    assert isinstance(log, Path)
    assert log.parent.parent == tmp_path

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    reason = write_log(ValueError("x"), [], (lambda: read_only / "new", homeless))
    assert isinstance(reason, str)
    line = internal_line(ValueError("x"), ["infer"], reason)
    assert "posedeploy infer stopped with ValueError; no log could be written" in line
    assert "Could not determine home directory.): run it again with --debug" in line


def test_old_logs_are_removed(cache: Path) -> None:
    folder = FOLDERS[0]()
    folder.mkdir(parents=True)
    for i in range(KEPT + 5):
        (folder / f"2020-{i:02}.log").touch()
    log = write_log(ValueError("x"), [])
    kept = sorted(folder.iterdir())
    assert (len(kept), kept[0].name, kept[-1]) == (KEPT, "2020-06.log", log)


@pytest.mark.parametrize(
    ("statement", "code", "line"),
    [
        ("raise ImportError('libGL.so.1: cannot open shared object file')", 3, "libGL.so.1"),
        ("1 / 0", 70, "internal error: posedeploy infer stopped with ZeroDivisionError"),
    ],
)
def test_commands_that_cannot_be_imported(
    statement: str, code: int, line: str, tmp_path: Path, cache: Path
) -> None:
    """As on a machine without OpenCV's libraries of the system."""
    (tmp_path / "cv2.py").write_text(statement)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "posedeploy", "infer", "a", "b"], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert line in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("import sys; print(sys.argv[1:]); sys.exit(1)", 1, ""),
        ("1 / 0", 70, "internal error: posedeploy paging stopped with ZeroDivisionError"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_a_module_of_the_judge_s_in_a_child(
    body: str, code: int, line: str, tmp_path: Path, cache: Path
) -> None:
    """Its own exit codes stay; only an error that it lets out is one of ours."""
    (tmp_path / "judging").mkdir()
    (tmp_path / "judging/paging.py").write_text(body)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "posedeploy.cli.guarded", "judging.paging", "build", "a.json"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert line in done.stderr
    assert cache.exists() == (code == 70)
    if code == 1:
        assert done.stdout == "['build', 'a.json']\n"
