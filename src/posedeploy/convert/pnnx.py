"""Run pnnx and check what it wrote.

pnnx ends with status 0 even when it has written layers that ncnn does not have.  They show in its
log, and in the names of layers in the `.param` file.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from posedeploy.errors import ConversionError, UnavailableError
from posedeploy.runtime.ncnn import foreign_type

PNNX_SECONDS = 600.0  # the slowest model here takes 16
_LOG = re.compile(
    r"^(?=.*(unsupported|not supported|\bignore\b)).*$", re.IGNORECASE | re.MULTILINE
)
_NEXT = "Rewrite it in posedeploy/export/ncnn_rewrites.py, or end the graph before it."


@dataclass(frozen=True)
class NcnnFiles:
    """What pnnx wrote for ncnn: text of the `.param` file, and the `.bin` file."""

    param: str
    weights: Path


def find_pnnx() -> str:
    """Path of the pnnx program.

    Raises:
        UnavailableError: It is not installed.
    """
    spec = importlib.util.find_spec("pnnx")
    # importing the package would load torch; the program is in the same folder
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("pnnx", "pnnx.exe"):
            if (Path(folder) / name).is_file():
                return str(Path(folder) / name)
    found = shutil.which("pnnx")
    if found is None:
        raise UnavailableError(
            "pnnx",
            "tool-missing: no such program",
            "pnnx, which converts for ncnn",
            "Install it: python -m pip install pnnx",
        )
    return found


def run_pnnx(  # noqa: PLR0917 - tests pass the last two
    traced: Path,
    shape: tuple[int, ...],
    fp16: bool,
    folder: Path,
    program: str = "",
    seconds: float = PNNX_SECONDS,
) -> NcnnFiles:
    """Convert a traced module.

    Args:
        traced: The `.pt` file.
        shape: Shape of its input.
        fp16: True to store the weights in fp16.
        folder: A folder for what pnnx leaves behind.
        program: Path of pnnx; '' finds it.
        seconds: How long it may take.

    Raises:
        UnavailableError: pnnx is not installed.
        ConversionError: It failed, or wrote what ncnn cannot run; the layer is named.
    """
    copy = folder / "model.pt"
    copy.symlink_to(traced.resolve())
    sizes = ",".join(map(str, shape))
    command = [program or find_pnnx(), copy.name, f"inputshape=[{sizes}]", f"fp16={int(fp16)}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace",
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _failed(traced, f"no end within {seconds:g} s") from error
    param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
    log = done.stdout + done.stderr
    if done.returncode != 0 or not param.is_file() or not weights.is_file():
        last = (log.strip().splitlines() or ["nothing was printed"])[-1]
        raise _failed(traced, f"pnnx ended with status {done.returncode}: {last}")
    text = param.read_text(encoding="utf-8")
    check_layers(str(traced), text, log)
    return NcnnFiles(text, weights)


def check_layers(subject: str, param: str, log: str) -> None:
    """Refuse a conversion that pnnx reports as a success and ncnn cannot run.

    Raises:
        ConversionError: With the layers that ncnn lacks, or the lines of the log that name them.
    """
    layers = [line.split() for line in param.splitlines()[2:] if line.strip()]
    foreign = [f"{words[0]} ({words[1]})" for words in layers if foreign_type(words[0])]
    logged = [match.group().strip() for match in _LOG.finditer(log)]
    if foreign or logged:
        parts = [f"layers that ncnn lacks: {', '.join(foreign)}"] if foreign else []
        parts += [f"pnnx logs: {'; '.join(logged[:3])}"] if logged else []
        raise ConversionError(
            "convert", subject, "; ".join(parts), "a graph of layers that ncnn has", _NEXT
        )


def _failed(traced: Path, found: str) -> ConversionError:
    return ConversionError(
        "convert", str(traced), found, "a module that pnnx converts", "Report this model."
    )
