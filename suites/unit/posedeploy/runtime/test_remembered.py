"""Answers of probes: kept as long as what was loaded is the same, and no longer."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posedeploy.runtime.host import HOST, run_probe
from posedeploy.runtime.loaded_files import write
from posedeploy.runtime.remembered import MOST_ANSWERS, Remembered, forget, surroundings

SECONDS = 20.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is kept elsewhere")


class Desk:
    """A folder with a package on the path, and what was run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.answers = folder, folder / "answers"
        self.runs: list[str] = []
        self.around: list[Any] = ["a machine"]

    def run(self, code: str, seconds: float) -> tuple[int, str]:
        self.runs.append(code)
        return run_probe(code, seconds)

    def ask(self, code: str = "import library; print(library.VALUE)") -> tuple[int, str]:
        remembered = Remembered(self.run, lambda: self.answers, lambda: self.around)
        return remembered(code, SECONDS)

    def write(self, name: str, source: str) -> None:
        (self.folder / name).write_text(source)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    (tmp_path / "site").mkdir()
    desk = Desk(tmp_path / "site")
    desk.answers = tmp_path / "answers"
    desk.write("library.py", "import part\nVALUE = part.VALUE")
    desk.write("part.py", "VALUE = 1")
    return desk


def test_a_library_that_is_unchanged_is_loaded_once(desk: Desk) -> None:
    assert [desk.ask(), desk.ask(), desk.ask()] == [(0, "1")] * 3
    assert len(desk.runs) == 1
    assert desk.ask("import part") == (0, "")  # another question
    assert len(desk.runs) == 2


def _another_part(desk: Desk) -> None:
    desk.write("part.py", "VALUE = 22")


def _no_part(desk: Desk) -> None:
    (desk.folder / "part.py").unlink()


def _something_installed(desk: Desk) -> None:
    desk.write("optional.py", "")


def _another_machine(desk: Desk) -> None:
    desk.around = ["another machine"]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (_another_part, (0, "22")),
        (_no_part, (1, "ModuleNotFoundError: No module named 'part'")),
        (_something_installed, (0, "1")),
        (_another_machine, (0, "1")),
    ],
)
def test_a_library_is_loaded_again_when_something_has_changed(
    desk: Desk, change: Callable[[Desk], None], answer: tuple[int, str]
) -> None:
    desk.ask()
    change(desk)
    assert desk.ask() == answer
    assert len(desk.runs) == 2


def test_shared_libraries_are_among_the_files(desk: Desk) -> None:
    desk.ask("import _ctypes")
    [answer] = [json.loads(path.read_text()) for path in desk.answers.iterdir()]
    assert [path for path in answer["files"] if "libc.so" in path or "ld-linux" in path]
    assert [path for path in answer["files"] if "_ctypes" in path]
    assert str(desk.folder) in answer["files"]


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit('no plugin')", 1), ("import os, signal; os.kill(os.getpid(), 11)", -11),
     ("import os; os._exit(0)", 0)],
)  # fmt: skip
def test_what_failed_or_left_no_list_of_files_is_run_again(
    desk: Desk, code: str, status: int
) -> None:
    assert [desk.ask(code)[0], desk.ask(code)[0]] == [status, status]
    assert len(desk.runs) == 2
    assert not desk.answers.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"state": 1}', '{"files": 1, "state": 1}'])
def test_an_answer_that_cannot_be_read_is_made_again(desk: Desk, text: str) -> None:
    desk.ask()
    [path] = desk.answers.iterdir()
    path.write_text(text)
    assert desk.ask() == (0, "1")
    assert len(desk.runs) == 2


def test_a_cache_that_cannot_be_written_to_costs_time_alone(desk: Desk) -> None:
    desk.answers = Path("/proc/posedeploy")
    assert [desk.ask(), desk.ask()] == [(0, "1")] * 2
    assert len(desk.runs) == 2


def test_without_a_working_or_a_temporary_folder_it_is_run_as_it_is(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    remembered = Remembered(desk.run, lambda: desk.answers)
    assert remembered("print(1)", SECONDS) == (0, "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no-folder"))
    assert remembered("print(1)", SECONDS) == (0, "1")
    assert desk.runs == ["print(1)"] * 2


def test_a_list_of_files_that_cannot_be_written_fails_no_probe(tmp_path: Path) -> None:
    write(str(tmp_path / "no-folder" / "files.json"))
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_answers_are_removed(desk: Desk) -> None:
    desk.answers.mkdir()
    for index in range(MOST_ANSWERS + 3):
        (desk.answers / f"{index}.json").write_text("{}")
        os.utime(desk.answers / f"{index}.json", (index, index))
    desk.ask()
    names = {path.name for path in desk.answers.iterdir()}
    assert len(names) == MOST_ANSWERS
    assert not {"0.json", "1.json", "2.json", "3.json"} & names


def test_nothing_is_kept_where_the_system_lists_no_libraries(tmp_path: Path) -> None:
    write(str(tmp_path / "files.json"), maps=str(tmp_path / "no-proc"))
    assert not (tmp_path / "files.json").exists()


def test_variables_and_modules_of_the_working_folder_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    states = [surroundings()]
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    states.append(surroundings())
    (tmp_path / "numpy.py").write_text("")  # `python -c` would import it
    states.append(surroundings())
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("")
    states.append(surroundings())
    assert len({json.dumps(state) for state in states}) == 4
    monkeypatch.setenv("COLUMNS", "17")
    assert surroundings() == states[-1]


def test_the_host_remembers_what_loads_and_never_what_a_device_computes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(desk.answers))
    monkeypatch.syspath_prepend(desk.folder)
    count = desk.folder.parent / "count"
    desk.write("library.py", f"open({str(count)!r}, 'a').write('x')")
    names = "library", ("library",), "0"
    assert [HOST.probe_import(*names).ok for _ in range(2)] == [True, True]
    assert count.read_text() == "x"
    assert [HOST.probe_import(*names, on_device="1 + 1").ok for _ in range(2)] == [True, True]
    assert count.read_text() == "xxx"
    assert HOST.loading("import library") == (0, "")  # as `own_precision` of a row
    forget()
    assert HOST.probe_import(*names).ok
    assert count.read_text() == "xxxxx"
