"""ncnn: a traced module through pnnx; the files are run and compared before they are accepted."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.convert.agreement import AGREEMENT, differences, uniform_noise
from posedeploy.convert.ncnn_diagnosis import diagnose_float16
from posedeploy.convert.types import (
    Converted,
    Declared,
    int8_recipe,
    refuse_dynamic_batch,
)
from posedeploy.errors import ConversionError, UnavailableError
from posedeploy.paths import scratch_folder
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.ncnn_files import WEIGHTED, read_param
from posedeploy.precision.ncnn_int8 import quantize_ncnn
from posedeploy.runtime import (
    ComputePrecision,
    Session,
    SessionOptions,
    StoredPrecision,
    backend_row,
    get_runtime,
)
from posedeploy.runtime.ncnn import foreign_type, is_quantized
from posedeploy.runtime.processes import Limit, OutOfTimeError, run_program
from posedeploy.runtime.torchscript import SIGNATURE

PNNX_LIMIT = Limit(600.0)  # of CPU: the slowest model here takes 16 s
_LOG = re.compile(
    r"^(?=.*(unsupported|not supported|\bignore\b)).*$", re.IGNORECASE | re.MULTILINE
)


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """Traced module to `.param` and `.bin`; fp16 is off unless the deploy config asks for it.

    int8 starts from the float32 files, which are checked before they are quantized; those of bf16
    are float32, checked in it, and ncnn rounds them as it loads them.
    """
    row = backend_row("ncnn")
    traced = load_traced(ir)
    refuse_dynamic_batch(deploy_config, "ncnn runs one image at a time", traced.inputs)
    shape = tuple(int(size) for size in traced.inputs[0].shape)
    fp16 = deploy_config.precision == "fp16"
    written = (row.main_file, row.weights_file)
    files = (folder / written[0], folder / written[1])
    write_files(ir, traced, shape, fp16, files)
    recipe: Mapping[str, Any] = {"name": "pnnx, weights in float16"} if fp16 else {}

    def diagnose() -> tuple[str, str]:
        return diagnosis(ir, traced, shape)

    session = check_numbers(traced, files, weight_precision(*files), diagnose)
    if deploy_config.precision == "int8":
        inputs = required(calibration, deploy_config.path)
        with scratch_folder("ncnn") as scratch:
            copies = [Path(shutil.copy(path, scratch)) for path in files]
            done = quantize_ncnn((copies[0], copies[1]), files, inputs)
        recipe = int8_recipe("ncnn scales, per channel, min-max", done, inputs)
        session = check_numbers(traced, files, "int8", diagnose)
    declared = Declared(session.inputs, session.outputs)
    if deploy_config.precision == "bf16":  # this CPU may not compute in it
        return Converted(written, ComputePrecision.BF16, declared)
    return Converted(written, weight_precision(*files), declared, recipe)


def load_traced(path: Path) -> Session:
    """A module that the exporter traced; ConversionError without names and shapes in it."""
    session = get_runtime("torchscript").load([path], "cpu", SessionOptions(threads=0))
    if not session.inputs[0].shape:
        raise ConversionError(
            "convert", str(path), f"no {SIGNATURE} in the archive",
            "a module traced by posedeploy", "Export the model again.",
        )  # fmt: skip
    return session


def named(param: str, given: str, outputs: list[str], shape: tuple[int, ...]) -> str:
    """A `.param` file with the contract's names, and the input's size in its Input layer.

    pnnx calls tensors in0, out0, out1, …; parameters 0, 1, 2 are width, height, channels.
    """
    renamed = {"in0": given} | {f"out{i}": name for i, name in enumerate(outputs)}
    _, channels, height, width = shape
    lines = param.splitlines()
    for i, line in enumerate(lines[2:], start=2):
        words = line.split()
        if not words:
            continue
        end = 4 + int(words[2]) + int(words[3])
        tensors = [renamed.get(name, name) for name in words[4:end]]
        sizes = [f"0={width}", f"1={height}", f"2={channels}"] if words[0] == "Input" else []
        lines[i] = " ".join([*words[:4], *tensors, *words[end:], *sizes])
    return "\n".join(lines) + "\n"


def weight_precision(param: Path, weights: Path) -> StoredPrecision:
    """'int8' if any layer is quantized; else by the size of the weights and their number."""
    if is_quantized(param):
        return StoredPrecision.INT8
    layers = read_param(param)
    weighted = (WEIGHTED[layer.type](layer) for layer in layers if layer.type in WEIGHTED)
    count = sum(number for blocks in weighted for number, _ in blocks)
    whole = weights.stat().st_size >= 4 * count
    return StoredPrecision.FP32 if whole else StoredPrecision.FP16


def check_numbers(
    traced: Session,
    files: Sequence[Path],
    precision: str,
    diagnose: Callable[[], tuple[str, str]],
) -> Session:
    """Run both on noise, for pnnx may convert wrongly; ConversionError if outputs differ.

    `diagnose` says what was found in the model, and what to do. Returns the loaded files.
    """
    session, wrong = compare_numbers(traced, files, precision)
    if wrong:
        found, next_step = diagnose()
        raise ConversionError(
            "convert", files[0].name, f"{'; '.join(wrong)}; {found}",
            "what the model computes in PyTorch", next_step,
        )  # fmt: skip
    return session


def compare_numbers(
    traced: Session, files: Sequence[Path], precision: str
) -> tuple[Session, list[str]]:
    """The loaded files, and a sentence for each output that differs too much on noise.

    Raises:
        ConversionError: ncnn does not run the files.
    """
    noise = uniform_noise([int(size) for size in traced.inputs[0].shape])
    try:
        session = get_runtime("ncnn").load(files, "cpu", SessionOptions(precision))
        outputs = session.run({session.inputs[0].name: noise})
    except RuntimeError as error:
        raise ConversionError(
            "convert", files[0].name, str(error), "files that ncnn runs",
            "pnnx has written a layer that ncnn cannot run. Deploy this model on another backend, "
            "and report it with its config.",
        ) from error  # fmt: skip
    expected = traced.run({traced.inputs[0].name: noise})
    return session, differences(outputs, expected, AGREEMENT[precision])


def diagnosis(ir: Path, traced: Session, shape: tuple[int, ...]) -> tuple[str, str]:
    """Why files in a lower precision differ, by float32 files of the same model."""
    with scratch_folder("pnnx") as scratch:
        files = (scratch / "float32.param", scratch / "float32.bin")
        write_files(ir, traced, shape, False, files)
        noise = CalibrationSet("noise", 1, lambda: iter([uniform_noise(shape)]))
        return diagnose_float16(files, compare_numbers(traced, files, "fp32")[1], noise)


def write_files(
    ir: Path, traced: Session, shape: tuple[int, ...], fp16: bool, files: tuple[Path, Path]
) -> None:
    """Convert by pnnx, and write the `.param`, with the contract's names, and the `.bin` file."""
    with scratch_folder("pnnx") as scratch:
        param, weights = run_pnnx(ir, shape, fp16, scratch)
        names = [info.name for info in traced.outputs]
        text = named(param, traced.inputs[0].name, names, shape)
        files[0].write_text(text, encoding="utf-8")
        shutil.copyfile(weights, files[1])


def _find_pnnx() -> str:
    spec = importlib.util.find_spec("pnnx")
    # importing the package would load torch; the program is in the same folder
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("pnnx", "pnnx.exe"):
            if (Path(folder) / name).is_file():
                return str(Path(folder) / name)
    program = shutil.which("pnnx")
    if program is None:
        raise UnavailableError(
            "pnnx", "tool-missing: no such program", "pnnx, which converts for ncnn",
            "Install it: python -m pip install pnnx",
        )  # fmt: skip
    return program


def run_pnnx(  # noqa: PLR0917 - tests pass the last two
    traced: Path,
    shape: tuple[int, ...],
    fp16: bool,
    folder: Path,
    program: str = "",
    limit: Limit = PNNX_LIMIT,
) -> tuple[str, Path]:
    """Convert a traced module: the text of the `.param` file, and the `.bin` file.

    pnnx ends with status 0 even when it has written layers that ncnn does not have.  They show in
    its log, and in the names of layers in the `.param` file.

    `shape` is that of the input, `fp16` stores the weights so, and pnnx writes into `folder`.
    A `program` of '' is searched for.

    Raises:
        UnavailableError: pnnx is not installed.
        ConversionError: It failed, or wrote what ncnn cannot run; the layer is named.
    """
    copy = folder / "model.pt"
    copy.symlink_to(traced.resolve())
    sizes = ",".join(map(str, shape))
    command = [program or _find_pnnx(), copy.name, f"inputshape=[{sizes}]", f"fp16={int(fp16)}"]
    try:
        done = run_program(command, limit, folder)
    except OutOfTimeError as error:
        raise _failed(traced, f"pnnx did not end: {error}") from error
    param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
    log = done.stdout + done.stderr
    if done.status != 0 or not param.is_file() or not weights.is_file():
        last = (log.strip().splitlines() or ["nothing was printed"])[-1]
        raise _failed(traced, f"pnnx ended with status {done.status}: {last}")
    text = param.read_text(encoding="utf-8")
    check_layers(str(traced), text, log)
    return text, weights


def check_layers(subject: str, param: str, log: str) -> None:
    """ConversionError if pnnx reports success and ncnn lacks layers, which it or the log names."""
    layers = [line.split() for line in param.splitlines()[2:] if line.strip()]
    foreign = [f"{words[0]} ({words[1]})" for words in layers if foreign_type(words[0])]
    logged = [match.group().strip() for match in _LOG.finditer(log)]
    if foreign or logged:
        reasons = [f"layers that ncnn lacks: {', '.join(foreign)}"] if foreign else []
        reasons += [f"pnnx logs: {'; '.join(logged[:3])}"] if logged else []
        raise ConversionError(
            "convert", subject, "; ".join(reasons), "a graph of layers that ncnn has",
            "Deploy this model on another backend, and report it with its config.",
        )  # fmt: skip


def _failed(traced: Path, reason: str) -> ConversionError:
    return ConversionError(
        "convert", str(traced), reason, "a module that pnnx converts", "Report this model."
    )
