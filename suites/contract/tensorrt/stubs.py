"""Type stubs of a TensorRT version, made from its real bindings.

pybind11-stubgen takes signatures from docstrings as they are.  Some of NVIDIA's names are Python's
keywords (`in`, `None`, `from`): they get an underscore.  Some parameters without a default follow
one that has it: they get one.  Anything else that does not parse is an error.  And `bool` in the
module is one of TensorRT's data types, so the built-in one has to be named in full.
"""

from __future__ import annotations

import ast
import keyword
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_KEYWORDS = "|".join(keyword.kwlist)
# 'in: Tensor' among parameters or members, and 'Type.None = 1'
_NAMED_LIKE_KEYWORDS = re.compile(rf"(?<![\w.])({_KEYWORDS})(?=\s*:(?!\s*$))")
_SIGNATURE = re.compile(r"(.*?\()(.*)(\) ->.*)")
_BETWEEN_PARAMETERS = re.compile(r", (?=\w+\s*:)")
# 'bool' as an annotation; not the member `bool: DataType`, at the beginning of its line
_BUILTIN_BOOL = re.compile(r"(?<=-> )bool(?=:)|(?<=: )bool(?=[,) ])")
MODULE = "tensorrt_bindings.tensorrt"


def write_stubs(folder: Path, environment: Mapping[str, str]) -> Path:
    """Write a package `tensorrt` of stubs into `folder`.

    Args:
        folder: An empty folder; it can be put on MYPYPATH.
        environment: Of a process that can import the bindings.

    Returns:
        The stub file.
    """
    command = [sys.executable, "-m", "pybind11_stubgen", MODULE, "-o", str(folder / "raw"),
               "--ignore-all-errors"]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    raw = folder / "raw" / "tensorrt_bindings" / "tensorrt.pyi"
    assert done.returncode == 0, done.stderr
    assert raw.is_file(), done.stderr
    target = folder / "tensorrt" / "__init__.pyi"
    target.parent.mkdir()
    text = repaired(raw.read_text(encoding="utf-8"))
    # the version is set by the package's own __init__.py, which is no extension module
    text = f"import builtins\n{text}\n__version__: str\n"
    target.write_text(_BUILTIN_BOOL.sub("builtins.bool", text), encoding="utf-8")
    return target


def repaired(text: str) -> str:
    """The stub with its keywords renamed, line by line as the parser complains.

    Raises:
        SyntaxError: A line that this does not mend.
    """
    lines = text.split("\n")
    while True:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            index = (error.lineno or 1) - 1
            mended = _with_defaults(_NAMED_LIKE_KEYWORDS.sub(r"\1_", lines[index]))
            if mended == lines[index]:
                raise
            lines[index] = mended
        else:
            return "\n".join(lines)


def _with_defaults(line: str) -> str:
    """A signature in which every parameter after the first that has a default has one too."""
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        return line
    optional, parameters = False, []
    for parameter in _BETWEEN_PARAMETERS.split(match[2]):
        optional = optional or "=" in parameter
        missing = optional and "=" not in parameter
        parameters.append(f"{parameter} = ..." if missing else parameter)
    return f"{match[1]}{', '.join(parameters)}{match[3]}"
