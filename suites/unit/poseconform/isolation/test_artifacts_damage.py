"""Whatever is in the place of a cache entry and is none is made again, and said."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from poseconform.isolation.artifacts import MANIFEST, ArtifactCache, CacheError

NOBODY = 65534  # a user that permissions apply to, where root runs the tests


def fill(folder: Path) -> Mapping[str, object]:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.bin").write_bytes(b"abc")
    return {"seconds": 1.5, "nodes": {"Conv": 10, "Add": 9}}


@pytest.fixture
def root() -> Iterator[Path]:
    """A cache that belongs to a user whom permissions apply to."""
    with tempfile.TemporaryDirectory() as folder:
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            (Path(folder) / "cache").mkdir()
            yield Path(folder) / "cache"
        finally:
            if is_root:
                os.seteuid(0)


def edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        manifest = root / "k" / MANIFEST
        data = json.loads(manifest.read_text())
        change(data)
        manifest.write_text(json.dumps(data))

    return damage


def text(content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        manifest = root / "k" / MANIFEST
        manifest.write_bytes(content(manifest.read_bytes()))

    return damage


def in_place_of(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        place = root / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        make(place)

    return damage


def dangling(place: Path) -> None:
    place.symlink_to(place.parent / "not" / "there")


def to_a_file(place: Path) -> None:
    (place.parent / "other").write_text("x")
    place.symlink_to(place.parent / "other")


def full_folder(place: Path) -> None:
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "x").write_text("x")


# kind of damage -> (what does it, words of what is said)
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "manifest: empty": (text(lambda _: b""), "manifest.json cannot be read"),
    "manifest: truncated": (text(lambda t: t[:40]), "manifest.json cannot be read"),
    "manifest: zeros": (text(lambda t: bytes(len(t))), "manifest.json cannot be read"),
    "manifest: UTF-16": (text(lambda t: t.decode().encode("utf-16")), "cannot be read"),
    "manifest: not UTF-8": (text(lambda t: t + b"\xff"), "manifest.json cannot be read"),
    "manifest: a list": (text(lambda _: b"[]"), "manifest.json cannot be read"),
    "manifest: nested": (text(lambda _: b"[" * 100_000), "manifest.json cannot be read"),
    "manifest: a large number": (text(lambda _: b"9" * 5000), "manifest.json cannot be read"),
    "manifest: no files": (edit(lambda d: d.pop("files")), "manifest.json cannot be read"),
    "manifest: files of a kind": (edit(lambda d: d.update(files=[1])), "cannot be read"),
    "manifest: no file listed": (edit(lambda d: d.update(files={})), "is not as it was made"),
    "manifest: other facts": (edit(lambda d: d.update(facts={})), "is not as it was made"),
    "manifest: absent": (in_place_of(f"k/{MANIFEST}", lambda _: None), "found nothing in the"),
    "manifest: a folder": (in_place_of(f"k/{MANIFEST}", full_folder), "found a folder in the"),
    "manifest: a link": (in_place_of(f"k/{MANIFEST}", dangling), "found a link in the"),
    "manifest: unreadable": (lambda r: (r / "k" / MANIFEST).chmod(0), "Permission denied"),
    "file: other bytes": (lambda r: (r / "k/sub/a.bin").write_bytes(b"abd"), "sub/a.bin is not"),
    "file: longer": (lambda r: (r / "k/sub/a.bin").write_bytes(b"abcd"), "sub/a.bin is not"),
    "file: absent": (lambda r: (r / "k/sub/a.bin").unlink(), "No such file"),
    "file: a folder": (in_place_of("k/sub/a.bin", full_folder), "sub/a.bin"),
    "entry: a file": (in_place_of("k", lambda p: p.write_text("x")), "found a file in the"),
    "entry: empty": (in_place_of("k", lambda p: p.mkdir()), "found nothing in the place of"),
    "entry: a link to a file": (in_place_of("k", to_a_file), "found a link in the place of"),
    "entry: a dangling link": (in_place_of("k", dangling), "found a link in the place of"),
    "entry: unreadable": (lambda r: (r / "k").chmod(0), "Permission denied"),
    "entry: a folder in it unreadable": (lambda r: (r / "k" / "sub").chmod(0), "Permission"),
    "lock: a folder": (
        in_place_of("k.lock", full_folder),
        "found a folder in the place of a lock",
    ),
    "lock: unreadable": (lambda r: (r / "k.lock").chmod(0), "found a file in the place of a lock"),
    "lock: a dangling link": (in_place_of("k.lock", dangling), "found a link in the place of a"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_cannot_be_read_is_made_again(
    root: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage, words = DAMAGE[kind]
    cache = ArtifactCache(root)
    first = cache.get_or_make("k", fill)
    (root / "k.lock").touch()  # some systems remove it
    damage(root)
    with caplog.at_level(logging.WARNING):
        again = cache.get_or_make("k", fill)
    assert again.made is not kind.startswith("lock")
    assert (again.files, again.facts) == (first.files, first.facts)
    assert (again.path / "sub" / "a.bin").read_bytes() == b"abc"
    (line,) = caplog.messages
    assert line.startswith(str(root / "k"))
    assert words in line
    assert not cache.get_or_make("k", lambda _: pytest.fail("damaged still")).made
    hidden = [path.name for path in root.iterdir() if path.name.startswith(".")]
    assert hidden == []


def test_a_link_to_a_whole_entry_is_read(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    path = cache.get_or_make("k", fill).path
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not cache.get_or_make("k", lambda _: pytest.fail("made twice")).made


def test_facts_that_json_writes_otherwise_are_whole(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    cache.get_or_make(
        "k", lambda _: {"a": (1, 2.5e-300), "b": {9: 1, 10: float("nan")}, "c": 1e22}
    )
    assert not cache.get_or_make("k", lambda _: pytest.fail("made twice")).made


@pytest.mark.parametrize("there", [True, False], ids=["there", "to be made"])
def test_a_cache_that_cannot_be_written_to_is_one_error(root: Path, there: bool) -> None:
    place = root if there else root / "below"
    root.chmod(0o500)
    with pytest.raises(CacheError) as caught:
        ArtifactCache(place).get_or_make("k", fill)
    assert str(caught.value).startswith(f"artifact cache {place}: found Permission denied at ")
    assert "--artifact-cache" in str(caught.value)
    root.chmod(0o700)


def test_an_error_of_the_producer_stays_its_own(tmp_path: Path) -> None:
    def refuse(_: Path) -> Mapping[str, object]:
        raise PermissionError("the model's own file")

    with pytest.raises(PermissionError, match="the model's own file"):
        ArtifactCache(tmp_path).get_or_make("k", refuse)
