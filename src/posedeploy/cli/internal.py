"""An exception that is none of ours: one line for a person, and a log of it for a report.

Imports nothing that can be missing, so that it also serves where the commands cannot be imported.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from posedeploy.paths import cache_dir, write_text

INTERNAL = 70  # the exit code; EX_SOFTWARE of sysexits.h
LOGS = "errors"  # folder of the cache
KEPT = 20  # logs in it
# Distributions whose versions a report needs, where they are installed.
_VERSIONS = (
    "posedeploy", "mmcv", "mmcv-lite", "mmdet", "mmengine", "mmpose", "mmpretrain", "ncnn",
    "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "opencv-python",
    "opencv-python-headless", "openvino", "tensorrt", "torch", "typer",
)  # fmt: skip


def internal_line(error: BaseException, words: Sequence[str], log: Path | str) -> str:
    """The line for a person.

    Args:
        error: What was raised; its message is in the log alone: a library's has many lines.
        words: Arguments of the command line.
        log: The log, or why there is none.
    """
    command = " ".join(["posedeploy", *(word for word in words[:1] if not word.startswith("-"))])
    stage = f", while at '{at}'" if (at := getattr(error, "stage", "")) else ""
    where = f"the log is {log}: report this with it" if isinstance(log, Path) else (
        f"no log could be written ({log}): run it again with --debug, and report what is printed"
    )  # fmt: skip
    return f"internal error: {command} stopped with {type(error).__name__}{stage}; {where}."


# Where a log goes: the first folder that can be written to.
FOLDERS: tuple[Callable[[], Path], ...] = (
    lambda: cache_dir() / LOGS,
    lambda: Path(tempfile.mkdtemp(prefix=f"posedeploy-{LOGS}-")),
)


def write_log(
    error: BaseException,
    words: Sequence[str],
    folders: Sequence[Callable[[], Path]] = FOLDERS,
) -> Path | str:
    """Write the log of an error into the first of the folders that can be written to.

    Args:
        error: What was raised.
        words: Arguments of the command line, which name the inputs.
        folders: Each gives a folder, which need not be there.

    Returns:
        Its path; why there is none, in one line, where no folder can be written to.
    """
    text = "".join(_lines(error, words))
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.log"
    reasons = []
    for choose in folders:
        try:
            folder = choose()
            write_text(folder / name, text)
            _remove_old(folder)
        except (OSError, RuntimeError) as refused:  # RuntimeError: there is no home folder
            reasons.append(str(refused))
        else:
            return folder / name
    return "; ".join(reasons)


def _remove_old(folder: Path) -> None:
    for old in sorted(folder.glob("*.log"))[:-KEPT]:
        old.unlink(missing_ok=True)


def _lines(error: BaseException, words: Sequence[str]) -> Iterator[str]:
    yield f"command: {['posedeploy', *words]!r}\n"
    with contextlib.suppress(OSError):  # it was removed
        yield f"folder: {os.getcwd()!r}\n"
    yield f"python: {sys.version.split()[0]}, {platform.platform()}\n"
    for name in _VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield f"{name}: {importlib.metadata.version(name)}\n"
    yield "\n"
    # as bytes of any name of a file: what is not UTF-8 becomes an escape
    text = "".join(traceback.format_exception(error))
    yield text.encode("utf-8", "backslashreplace").decode("utf-8")
