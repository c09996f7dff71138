"""Answers of child processes that load a library, kept while all files they loaded are unchanged.

Importing torch or coremltools takes seconds, and the answer is the same until something is
installed. The child writes which files it loaded: its modules, every shared library, those of the
system too, and the folders of its packages. The answer is kept with their sizes and times, for the
same interpreter, machine and variables. What failed is not kept; nor is anything where the system
does not list the libraries of a process, as Linux does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posedeploy.paths import cache_dir, write_text
from posedeploy.runtime.machine import cpu_flags

Run = Callable[[str, float], tuple[int, str]]

MOST_ANSWERS = 64  # the newest, in files of up to 0.3 MB
# Variables that decide which libraries are loaded, or what they do when they are
_VARIABLES = re.compile(
    "ATEN|BLIS|CUDA|DNNL|DYLD_|KMP_|LD_|MALLOC|MKL|NCNN|NVIDIA|OMP_|ONEDNN|OPENBLAS|OPENVINO|ORT_|OV_"
    "|PATH$|PYTHON|PYTORCH|TBB|TORCH"
)
_SCRIPT = Path(__file__).with_name("loaded_files.py")


def probes_folder() -> Path:
    """Where the answers are kept."""
    return cache_dir() / "probes"


def forget() -> None:
    """Remove all answers."""
    shutil.rmtree(probes_folder(), ignore_errors=True)


def surroundings() -> list[Any]:
    """What an answer depends on besides files: interpreter, machine, variables.

    `python -c` searches the working folder first; the names of modules there are among them.
    """
    here = os.getcwd()
    with os.scandir(here) as entries:
        modules = sorted(
            entry.name for entry in entries
            if entry.name.endswith((".py", ".so", ".pyd"))
            or os.path.isfile(os.path.join(entry.path, "__init__.py"))
        )  # fmt: skip
    variables = sorted(pair for pair in os.environ.items() if _VARIABLES.match(pair[0]))
    machine = [platform.node(), platform.release(), *sorted(cpu_flags() or ())]
    return [sys.executable, sys.version, [here, *modules] if modules else [], variables, machine]


def state_of(paths: Iterable[str]) -> str:
    """SHA-256 of the paths, sizes and times of files; of those that are missing, too."""
    state = hashlib.sha256()
    for path in paths:
        try:
            found = os.stat(path)
            state.update(
                f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="replace")
            )
        except OSError:
            state.update(f"{path}\0missing\n".encode(errors="replace"))
    return state.hexdigest()


@dataclass(frozen=True)
class Remembered:
    """A `run` that starts a child process only where no answer holds.

    `surroundings` is what an answer depends on besides files.
    """

    run: Run
    folder: Callable[[], Path] = probes_folder
    surroundings: Callable[[], list[Any]] = surroundings

    def __call__(self, code: str, seconds: float) -> tuple[int, str]:
        """As `run`: exit status, and the last line that was printed."""
        try:
            key = hashlib.sha256(json.dumps([code, self.surroundings()]).encode()).hexdigest()
            path = self.folder() / f"{key}.json"
            if (line := _kept(path)) is not None:
                return 0, line
            scratch = tempfile.TemporaryDirectory()
        except (OSError, RuntimeError):  # no working folder, no home, or no place for a temporary
            return self.run(code, seconds)
        with scratch as folder:
            target = Path(folder, "files.json")
            writing = f"runpy.run_path({str(_SCRIPT)!r})['write']({str(target)!r})"
            status, line = self.run(f"{code}\nimport runpy\n{writing}", seconds)
            if status == 0:
                _keep(path, line, target)
        return status, line


def _kept(path: Path) -> str | None:
    """The line of an answer that holds; None if there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        answer = json.loads(path.read_text("utf-8"))
        if answer["state"] == state_of(answer["files"]):
            return str(answer["line"])
    return None


def _keep(path: Path, line: str, target: Path) -> None:
    """Write an answer with the files that a child has listed, and remove the oldest answers.

    Where there is no list, or the cache cannot be written to, nothing is kept.
    """
    with contextlib.suppress(OSError, ValueError):
        loaded = json.loads(target.read_text("utf-8"))
        files = [name for name in loaded if os.path.exists(name)]  # without temporary ones
        answer = {"line": line, "files": files, "state": state_of(files)}
        write_text(path, json.dumps(answer))
        answers = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for old in answers[:-MOST_ANSWERS]:
            old.unlink(missing_ok=True)
