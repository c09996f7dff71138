"""The cache: made once, whole or not at all, verified when read."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock

from poseconform.isolation.artifacts import MANIFEST, ArtifactCache, content_key, tree_sha256


def fill(folder: Path) -> Mapping[str, object]:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.bin").write_bytes(b"abc")
    return {"n": 1}


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    first = cache.get_or_make("k", fill)
    again = cache.get_or_make("k", lambda _: pytest.fail("made twice"))
    assert (first.made, again.made) == (True, False)
    assert first.files == again.files
    assert first.files["sub/a.bin"][1] == 3
    assert again.facts == {"n": 1}


@pytest.mark.parametrize("damage", [b"abd", b"abcd", None])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    cache = ArtifactCache(tmp_path)
    path = cache.get_or_make("k", fill).path / "sub" / "a.bin"
    path.unlink() if damage is None else path.write_bytes(damage)
    again = cache.get_or_make("k", fill)
    assert again.made
    assert (again.path / "sub" / "a.bin").read_bytes() == b"abc"


def test_a_failing_producer_leaves_nothing_behind(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)

    def fail(folder: Path) -> Mapping[str, object]:
        (folder / "half").write_text("x")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cache.get_or_make("k", fail)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    assert cache.get_or_make("k", fill).made


def _make(root: str, log: str) -> None:
    def slow(folder: Path) -> Mapping[str, object]:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return fill(folder)

    ArtifactCache(Path(root)).get_or_make("k", slow)


def test_processes_share_an_entry(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    args = (str(tmp_path / "cache"), str(log))
    processes = [context.Process(target=_make, args=args) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0, 0, 0, 0]
    assert len(log.read_text().split()) == 1


def test_keys_depend_on_every_part_and_not_on_order() -> None:
    key = content_key("kind", {"a": 1, "b": "x"})
    assert key == content_key("kind", {"b": "x", "a": 1})
    assert key != content_key("kind", {"a": 2, "b": "x"})
    assert key.startswith("kind-")


def test_a_tree_hash_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = tree_sha256(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    renamed = tree_sha256(tmp_path)
    (tmp_path / "b.py").write_text("2")
    assert len({before, renamed, tree_sha256(tmp_path)}) == 3


def aged(cache: ArtifactCache, key: str, hours: float) -> Path:
    """An entry that was last used so long ago."""
    folder = cache.get_or_make(key, fill).path
    then = time.time() - 3600 * hours
    os.utime(folder / MANIFEST, (then, then))
    return folder


def test_what_was_not_used_for_longest_is_removed_first(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    folders = {hours: aged(cache, f"k{hours}", hours) for hours in (4, 3, 2)}
    size = sum(p.stat().st_size for p in folders[2].rglob("*") if p.is_file())
    assert cache.prune(limit_bytes=2 * size) == size
    assert [hours for hours, folder in folders.items() if folder.exists()] == [3, 2]
    assert cache.prune(limit_bytes=2 * size) == 0


def test_a_use_counts_and_what_is_in_use_stays(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    used, held = aged(cache, "used", 5), aged(cache, "held", 5)
    assert cache.find("used")
    with FileLock(tmp_path / "held.lock"):
        assert cache.prune(limit_bytes=0) == 0
    assert used.exists()
    assert held.exists()
    assert cache.prune(limit_bytes=0) > 0
    assert not held.exists()


def test_what_a_killed_process_left_half_made_is_removed(tmp_path: Path) -> None:
    half = tmp_path / ".k.123"
    half.mkdir()
    (half / "big.bin").write_bytes(b"x" * 100)
    assert ArtifactCache(tmp_path).prune(limit_bytes=10**9) == 0
    os.utime(half, (0, 0))
    assert ArtifactCache(tmp_path).prune(limit_bytes=10**9) == 100
    assert not half.exists()
    half.mkdir()
    os.utime(half, (0, 0))
    ArtifactCache(tmp_path).prune(limit_bytes=0)
    assert list(tmp_path.iterdir()) == [], "nor a lock for it"
