"""Files and folders appear whole or not at all, and what killed processes left is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.odd_names import ODD_NAMES, id_of
from posedeploy.paths import (
    followed,
    remove_leftovers,
    scratch_folder,
    whole_file,
    whole_folder,
    write_text,
)

# What a conversion does with the file system; the process kills itself before the step that the
# command line names, and prints how many there were if it is not killed.
CONVERSION = """
import os, sys
from pathlib import Path
from posedeploy.paths import scratch_folder, whole_folder

target, kill_at, counted = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
steps = 0

def count(event, arguments):
    global steps
    if event in counted:
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), 9)

sys.addaudithook(count)
with whole_folder(target) as folder, scratch_folder("export", target.parent) as scratch:
    for i in range(4):
        (scratch / f"{i}.onnx").write_text("graph")
        (folder / f"{i}.bin").write_text("new")
print(steps)
"""
NEW = {f"{i}.bin" for i in range(4)}
KILLS = 12  # each of two times
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.listdir")


def convert(
    target: Path, kill_at: int = 0, steps: Sequence[str] = STEPS
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CONVERSION, str(target), str(kill_at), *steps]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fill(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "old.bin").write_text("old")


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
def test_a_killed_conversion_leaves_a_folder_whole_or_absent(tmp_path: Path, before: bool) -> None:
    def place(name: str) -> Path:
        (tmp_path / name).mkdir()
        if before:
            fill(tmp_path / name / "work")
        return tmp_path / name / "work"

    total = int(convert(place("counted")).stdout)
    assert total > KILLS / 2
    left = 0
    for number in range(KILLS):
        work = place(f"{number}")
        killed = convert(work, 1 + number * (total - 1) // (KILLS - 1))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        found = names(work) if work.exists() else set()
        assert found in ([{"old.bin"}, NEW, set()] if before else [set(), NEW])
        left += any(name.startswith(".") for name in names(work.parent))
        assert convert(work).returncode == 0
        assert names(work.parent) == {"work"}, "the next conversion removes what was left"
        assert names(work) == NEW
    assert left > KILLS / 2, "else nothing was tested"


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    work = tmp_path / "work"
    fill(work)
    assert convert(work, 2, ["os.rename"]).returncode == -signal.SIGKILL
    assert not work.exists(), "killed between the two renames"
    assert any(name.endswith(".older") for name in names(tmp_path))
    with pytest.raises(ValueError, match="no"), whole_folder(work):
        raise ValueError("no")
    assert names(work) == {"old.bin"}
    assert names(tmp_path) == {"work"}


HOLD = """
import sys
from pathlib import Path
from posedeploy.paths import scratch_folder
with scratch_folder("export", Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_living_process_is_making_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        assert f"-{process.pid}-" in folder.name
        remove_leftovers(tmp_path)
        assert folder.is_dir()
        process.kill()
        process.wait()
        assert folder.is_dir()
    mine = folder.with_name(folder.name.replace(f"-{process.pid}-", f"-{os.getpid()}-"))
    folder.rename(mine)  # the pid is another process's by now
    remove_leftovers(tmp_path)
    assert not mine.exists()


def test_what_others_have_made_stays(tmp_path: Path) -> None:
    others = [".work", ".work-partial", ".work-partial-1-abc", "work-partial-1-abcdefgh"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".file-partial-1-abcdefgh").write_text("")
    (tmp_path / ".link-partial-1-abcdefgh").symlink_to(tmp_path / ".work")
    before = names(tmp_path)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == before


def test_two_of_one_process_do_not_take_each_others(tmp_path: Path) -> None:
    with scratch_folder("one", tmp_path) as one, scratch_folder("two", tmp_path) as two:
        with whole_folder(tmp_path / "out") as staging:
            assert one.is_dir()
            assert two.is_dir()
            (staging / "a").write_text("")
        assert one.is_dir()
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_whatever_is_in_a_folders_place_is_replaced(tmp_path: Path, kind: str) -> None:
    place, other = tmp_path / "out", tmp_path / "other"
    if kind == "file":
        place.write_text("x")
    if kind in {"folder", "link"}:
        fill(place if kind == "folder" else other)
    if "link" in kind:
        place.symlink_to(other)
    with whole_folder(place) as staging:
        (staging / "a").write_text("new")
    assert names(place) == {"a"}
    assert names(tmp_path) == ({"out", "other"} if "link" in kind else {"out"})


@pytest.mark.parametrize(
    "name", [*ODD_NAMES, "n" * 255, "\N{CJK UNIFIED IDEOGRAPH-4EBA}" * 85], ids=id_of
)
def test_any_name_that_the_file_system_takes_is_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "files" / name, "text")
    assert (tmp_path / "files" / name).read_text() == "text"
    for content in "ab":
        with whole_folder(tmp_path / name) as staging:
            (staging / content).write_text("")
    assert names(tmp_path / name) == {"b"}
    assert names(tmp_path) == {"files", name}


def test_a_file_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from posedeploy.paths import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a-partial-")
    with whole_file(tmp_path / "b") as path:
        path.write_text("b")
    assert names(tmp_path) == {"b"}


# link -> what it points to, and where that leads; "" for a loop
LINKS = {
    "around": ("missing/../around", ""),
    "away": ("nowhere", "nowhere"),
    "first": ("second", ""),
    "second": ("first", ""),
    "straight": ("folder", "folder"),
}


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_where_a_link_leads_is_the_same_in_every_version_of_python(
    name: str, below: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for link, (target, _) in LINKS.items():
        (tmp_path / link).symlink_to(target)
    leads = LINKS[name][1]
    expected = tmp_path.resolve() / leads / below if leads else None
    assert followed(tmp_path / name / below) == expected


def test_a_path_without_links_leads_to_itself(tmp_path: Path) -> None:
    assert followed(tmp_path.resolve() / "not" / "there") == tmp_path.resolve() / "not" / "there"
