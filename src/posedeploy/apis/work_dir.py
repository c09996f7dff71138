"""The folder that a conversion writes: refused before any work, then whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posedeploy.errors import BadInputError

SDK_FILES = {"deploy.json", "pipeline.json", "detail.json"}


def check_work_dir(target: Path) -> None:
    """Refuse a place where a folder of ours may not be written.

    Raises:
        BadInputError: It is a file, holds something else, or cannot be written to.
    """
    place = next(path for path in target.absolute().parents if path.exists())
    try:  # permissions alone do not tell: there are file systems that nobody can write to
        with tempfile.TemporaryDirectory(dir=place, prefix=f".{target.name}-"):
            pass
    except OSError as error:
        raise BadInputError(
            f"work dir {target}", f"{place}, which cannot be written to ({error.strerror})",
            "a place that can be written to", "Choose another place.",
        ) from error  # fmt: skip
    if not target.exists():
        return
    if not target.is_dir():
        raise BadInputError(f"work dir {target}", "a file", "a folder", "Choose another place.")
    names = {path.name for path in target.iterdir()}
    if names and not names >= SDK_FILES:
        raise BadInputError(
            f"work dir {target}",
            f"a folder with other things in it ({', '.join(sorted(names)[:5])})",
            "an absent or empty folder, or an SDK model folder",
            "Choose another place, or empty it.",
        )


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A staging folder that becomes `target` if the block ends well, and vanishes otherwise.

    Raises:
        BadInputError: The parent folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    except OSError as error:
        raise BadInputError(
            f"work dir {target}",
            error.strerror or str(error),
            "a place that can be written to",
            "Choose another place.",
        ) from error
    try:
        staging.chmod(0o755)  # mkdtemp's folders are private; the result should not be
        yield staging
        _put_in_place(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`; an older folder there is deleted only once that is done."""
    if not target.exists():
        staging.rename(target)
        return
    older = staging.with_name(f"{staging.name}.older")
    target.rename(older)
    try:
        staging.rename(target)
    except OSError:
        older.rename(target)
        raise
    shutil.rmtree(older)
