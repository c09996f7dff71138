"""Where an SDK model lies: its folder, a file in it, or a zip of it, as OpenMMLab publishes them.

A zip may come from anywhere. Nothing in it is written outside of a folder of its own, its links
are refused, and its size is limited before anything is written.
"""

from __future__ import annotations

import stat
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from posedeploy.errors import BadInputError, what_it_is
from posedeploy.paths import scratch_folder
from posedeploy.sdk.safefiles import MAX_BACKEND_BYTES, MAX_PACKAGE_ENTRIES

SUFFIX = ".zip"
MARK = "deploy.json"  # every SDK model has it, and so its folder in a zip is found
MAX_BYTES = MAX_BACKEND_BYTES + 16 * 2**20  # of everything in a zip together
KEPT_OPEN = 4  # zips that are not unpacked again; those in use stay in any case
_EXPECTED = "a zip of one SDK model"
_ENCRYPTED = 0x1  # bit 0 of an entry's flags: APPNOTE.TXT, 4.4.4


class Unpacked:
    """A zip's SDK model in a temporary folder, which is removed with this object."""

    def __init__(self, path: Path) -> None:
        stack = ExitStack()
        try:
            self.folder = stack.enter_context(scratch_folder(path.stem)) / path.stem
            self.folder.mkdir()
            _unpack(path, self.folder)
        except BaseException:
            stack.close()
            raise
        weakref.finalize(self, stack.close)


def locate(path: str | Path) -> tuple[Path, Unpacked | None]:
    """The folder of an SDK model, and what keeps it there: None where it is no zip's.

    `path` is the folder, a file in it, or a zip (by its suffix) of the folder or its files.

    Raises:
        BadInputError: The zip is none, has no or several SDK models in it, or has what none needs:
            paths that lead out, links, a password, more than `MAX_BYTES`.
    """
    path = Path(path)
    if path.suffix.lower() == SUFFIX and path.is_file():
        status = path.stat()
        unpacked = _unpacked(path.resolve(), status.st_mtime_ns, status.st_size)
        return unpacked.folder, unpacked
    inside = path.is_file() or path.suffix == ".mlpackage"
    return path.parent if inside and (path.parent / MARK).is_file() else path, None


@lru_cache(maxsize=KEPT_OPEN)
def _unpacked(path: Path, _changed: int, _size: int) -> Unpacked:
    return Unpacked(path)


def _wrong(path: Path, found: str, expected: str = _EXPECTED) -> BadInputError:
    return BadInputError(str(path), found, expected, "Download or copy the zip again.")


def _unpack(path: Path, folder: Path) -> None:
    """Write the files of the one SDK model in a zip into a folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry, name in list(_entries(path, archive)):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("xb") as sink:
                    while block := source.read(1 << 20):
                        sink.write(block)
    except zipfile.BadZipFile as error:
        found = what_it_is(path) if str(error) == "File is not a zip file" else "a damaged zip"
        raise _wrong(path, f"{found} ({error})") from error
    except (EOFError, NotImplementedError, UnicodeDecodeError, ValueError, zlib.error) as error:
        raise _wrong(path, f"a zip that cannot be read: {error}") from error
    except FileExistsError as error:
        raise _wrong(path, "a name twice") from error


def _entries(
    path: Path, archive: zipfile.ZipFile
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of the SDK model in a zip, with their names in its folder."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_PACKAGE_ENTRIES or total > MAX_BYTES:
        raise _wrong(
            path, f"{len(entries):,} files of {total:,} bytes together",
            f"at most {MAX_PACKAGE_ENTRIES:,} files and {MAX_BYTES:,} bytes",
        )  # fmt: skip
    for entry in entries:
        _refuse_dangerous(path, entry)
    names = {entry.filename: PurePosixPath(entry.filename) for entry in entries}
    roots = [name.parent for name in names.values() if name.name == MARK]
    if len(roots) != 1:
        raise _wrong(path, f"{len(roots)} files {MARK}" if roots else f"no {MARK} in it")
    for entry in entries:
        if names[entry.filename].is_relative_to(roots[0]):
            yield entry, names[entry.filename].relative_to(roots[0])


def _refuse_dangerous(path: Path, entry: zipfile.ZipInfo) -> None:
    name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise _wrong(path, f"{name[:80]!r} in it, which leads out", "names of files in the zip")
    if kind not in {0, stat.S_IFREG}:
        raise _wrong(path, f"{name[:80]!r} in it, a link or a device", "regular files alone")
    if entry.flag_bits & _ENCRYPTED:
        raise _wrong(path, f"{name[:80]!r} in it, with a password", "files without a password")
