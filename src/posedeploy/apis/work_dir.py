"""The folder that a conversion writes: refused before any work, then whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from posedeploy import paths
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
    """`paths.whole_folder` for a work dir.

    Raises:
        BadInputError: The parent folder cannot be written to.
    """
    with ExitStack() as stack:
        try:
            staging = stack.enter_context(paths.whole_folder(target))
        except OSError as error:
            raise BadInputError(
                f"work dir {target}",
                error.strerror or str(error),
                "a place that can be written to",
                "Choose another place.",
            ) from error
        yield staging
