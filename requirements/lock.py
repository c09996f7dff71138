"""Writes requirements/*.txt from pyproject.toml, with uv: `python -m tox -e lock`.

The files are the rows of `[tool.posedeploy.lock]`. All of them come from one resolution, so that
any of them install together. Versions stay as they are while pyproject.toml admits them;
`-- --upgrade` and `-- --upgrade-package NAME` move them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
COMMENT_WIDTH = 99
# Some packages want more than 3.11.0, and older versions of them would be locked for it.
OLDEST_PYTHON = "3.11.5"
COMPILE = (
    *("pip", "compile", "--quiet", "--no-header", "--no-annotate"),
    *("--universal", "--python-version", OLDEST_PYTHON, "--fork-strategy", "fewest"),
    *("--python", sys.executable, "--no-python-downloads"),
)


def main(options: list[str]) -> None:
    """Write every file; `options` go to uv where versions are chosen."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rows: dict[str, dict[str, Any]] = pyproject["tool"]["posedeploy"]["lock"]
    resolved = [row for row in rows.values() if "direct" not in row]
    with tempfile.TemporaryDirectory() as folder:
        versions, core = Path(folder, "versions.txt"), Path(folder, "core.txt")
        versions.write_text("\n".join(sorted(_pins(FOLDER.glob("*.txt")))) + "\n")
        _compile(versions, *_sources(resolved), *options)
        _compile(core, "pyproject.toml", "--constraint", str(versions))
        for name, row in rows.items():
            arguments = [*_sources([row]), "--constraint", str(versions)]
            if "direct" in row:
                arguments += ["--no-deps", "--no-strip-extras", *options]
            if "direct" in row and "extras" in row:  # the project's dependencies are in core.txt
                names = [pin.split("==")[0] for pin in _pins([core])]
                arguments += [f"--no-emit-package={name}" for name in names]
            arguments += [f"--no-emit-package={one}" for one in row.get("without", ())]
            file = FOLDER / f"{name}.txt"
            _compile(file, *arguments)
            file.write_text(_comment(row["about"]) + file.read_text())


def _pins(files: Iterable[Path]) -> set[str]:
    lines = (line.strip() for file in files for line in file.read_text().splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def _sources(rows: Iterable[dict[str, Any]]) -> list[str]:
    """What to lock: extras, which bring pyproject's `dependencies`, and dependency groups."""
    arguments: list[str] = []
    for row in rows:
        if "extras" in row:
            arguments += ["pyproject.toml", *(f"--extra={extra}" for extra in row["extras"])]
        arguments += [f"--group={group}" for group in row.get("groups", [])]
    return list(dict.fromkeys(arguments))


def _compile(output: Path, *arguments: str) -> None:
    """Pins that `output` holds already are kept while the requirements admit them."""
    command = [find_uv_bin(), *COMPILE, "--output-file", str(output), *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def _comment(about: str) -> str:
    text = f"{about} Written by `tox -e lock` from pyproject.toml."
    lines = textwrap.wrap(text, COMMENT_WIDTH - 2, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
