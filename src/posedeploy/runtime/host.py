"""The machine that probes query: packages, child processes, the NVIDIA driver.

Nothing here raises for what is missing: the answer is a value.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.version import InvalidVersion, Version

from posedeploy.runtime.machine import cpu_flags
from posedeploy.runtime.processes import Limit, OutOfTimeError, run_program
from posedeploy.runtime.remembered import Remembered, Run
from posedeploy.runtime.types import Availability, Code

# CPU seconds; half as many without any CPU use are a hang
PROBE_SECONDS = 60.0
# What runs on a GPU loads gigabytes of libraries the first time, and makes a context on the device
DEVICE_SECONDS = 240.0
OUT_OF_TIME = 124  # the status of a probe that exceeded its limits, as that of coreutils' timeout
PROBE_TRIES = 2  # a machine may have been too busy for one
# Instructions for bf16 in Linux's words: two extensions of x86, and Arm's
BF16_FLAGS = ("avx512_bf16", "avx_ne_convert", "bf16")
_CUDA_SCRIPT = Path(__file__).with_name("cuda_probe.py")


def is_installed(module: str) -> bool:
    """True if a top-level module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def is_imported(module: str) -> bool:
    """True if this process has imported a module."""
    return sys.modules.get(module) is not None


def distribution_version(*distributions: str) -> str:
    """Version of the first of these distributions that is installed, '' if none is."""
    return next(iter(installed_versions(*distributions).values()), "")


def installed_versions(*distributions: str) -> dict[str, str]:
    """Name -> version of those that are installed, without those that another one overwrote.

    pip lets onnxruntime and onnxruntime-gpu be installed over each other: what is there then are
    the files of the one that came last.
    """
    installed = {}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.distribution(name)
    if len(installed) < 2:
        return {name: found.version for name, found in installed.items()}
    recorded = {name: _recorded_sources(found) for name, found in installed.items()}
    owners = Counter(path for sources in recorded.values() for path in sources)
    return {
        name: found.version
        for name, found in installed.items()
        if all(
            _is_file(Path(str(found.locate_file(path))), digest)
            for path, digest in recorded[name].items()
            if owners[path] > 1
        )
    }


def _recorded_sources(found: importlib.metadata.Distribution) -> dict[str, str]:
    """Path -> digest of the Python files that pip recorded when it installed a distribution."""
    rows = csv.reader((found.read_text("RECORD") or "").splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1 and row[0].endswith(".py") and row[1]}


def _is_file(path: Path, recorded: str) -> bool:
    """True for a file of this digest, as in RECORD: 'sha256=' and URL-safe base64 (PEP 376)."""
    algorithm, _, digest = recorded.partition("=")
    if not path.is_file():
        return False
    own = hashlib.new(algorithm, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(own).decode().rstrip("=") == digest


def too_old(version: str, minimum: str) -> bool:
    """True if `version` is a readable version below `minimum`."""
    try:
        return Version(version) < Version(minimum)
    except InvalidVersion:
        return False


def run_probe(code: str, seconds: float = PROBE_SECONDS) -> tuple[int, str]:
    """Run Python code in a child process, for native libraries may crash on import.

    It may use so many seconds of CPU, and half as many without using any. One that exceeds this
    is run again.

    Returns the exit status (negative: killed by that signal; `OUT_OF_TIME`) and the last line that
    it printed, or the limit that it exceeded.
    """
    for _ in range(PROBE_TRIES):
        try:
            done = run_program([sys.executable, "-c", code], Limit(seconds, seconds / 2))
        except OutOfTimeError as error:
            overrun = str(error)
            continue
        lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
        return done.status, lines[-1].strip() if lines else ""
    return OUT_OF_TIME, f"{overrun}, in each of {PROBE_TRIES} tries"


def ended(status: int) -> str:
    """How a child process ended, by its exit status."""
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def failed(what: str, status: int, line: str, version: str = "") -> Availability:
    """The answer after a child process that did `what` ended with a status other than 0.

    What did not end in time is not broken: the machine may be too busy.
    """
    if status == OUT_OF_TIME:
        return Availability(Code.PROBE_TIMEOUT, f"{what} did not end: {line}", version)
    return Availability(Code.BROKEN_INSTALL, f"{what} failed ({ended(status)}): {line}", version)


@dataclass(frozen=True)
class CudaDevice:
    """One device: the driver's name of it, and 'major.minor'."""

    name: str
    compute_capability: str


@dataclass(frozen=True)
class CudaDevices:
    """The driver and its devices, in CUDA's order."""

    code: Code  # AVAILABLE, NO_DRIVER, NO_DEVICE or PROBE_TIMEOUT
    reason: str = ""
    driver: str = ""  # the newest CUDA version that it runs
    devices: tuple[CudaDevice, ...] = ()


def query_driver(run: Callable[[str], tuple[int, str]] = run_probe) -> CudaDevices:
    """Query the driver in a child process; a driver that crashes counts as none."""
    status, line = run(f"import runpy; runpy.run_path({str(_CUDA_SCRIPT)!r}, None, '__main__')")
    if status != 0:
        found = failed("asking the NVIDIA driver", status, line)
        code = Code.NO_DRIVER if found.code is Code.BROKEN_INSTALL else found.code
        return CudaDevices(code, found.reason)
    answer = json.loads(line)
    devices = tuple(CudaDevice(**device) for device in answer["devices"])
    return CudaDevices(Code(answer["code"]), answer["reason"], answer["driver"], devices)


@cache
def cuda_devices() -> CudaDevices:
    """The driver and its devices, queried once a process."""
    return query_driver()


@dataclass(frozen=True)
class Host:
    """The machine that is probed: each field is, or replaces, the function of that name above.

    `remembered` runs code that does no more than load libraries, whose answer holds as long as
    their files are unchanged; None runs it each time.
    """

    platform: str = sys.platform
    is_installed: Callable[[str], bool] = is_installed
    version: Callable[..., str] = distribution_version
    run: Run = run_probe
    cuda: Callable[[], CudaDevices] = cuda_devices
    is_imported: Callable[[str], bool] = is_imported
    cpu_flags: Callable[[], frozenset[str] | None] = cpu_flags
    remembered: Run | None = None

    def loading(self, code: str, seconds: float = PROBE_SECONDS) -> tuple[int, str]:
        """As `run`, for code that does no more than load libraries."""
        return (self.remembered or self.run)(code, seconds)

    def lacks_bf16(self) -> str | None:
        """Why bf16 would be emulated on this CPU; '' if it has instructions, None if unknown."""
        flags = self.cpu_flags()
        if flags is None:
            return None
        if not flags.isdisjoint(BF16_FLAGS):
            return ""
        return f"this CPU would emulate bf16: it has none of {', '.join(BF16_FLAGS)}"

    def probe_import(
        self,
        module: str,
        distributions: tuple[str, ...],
        min_version: str,
        check: str = "",
        *,
        on_device: str = "",
        seconds: float = PROBE_SECONDS,
    ) -> Availability:
        """The probe most backends need: installed, new enough, imports in a child process.

        The first of `distributions` that is installed gives the version.  `check` is more Python
        code for the child, of what libraries can do that are loaded, and `on_device` code that
        computes on a device, which is run each time; both fail the probe by raising.  Without
        either, what this process has imported is not imported again: for torch that takes two
        seconds.
        """
        installed = self.probe_version(module, distributions, min_version)
        more = check + on_device
        if not installed.ok or (not more and self.is_imported(module)):
            return installed
        run = self.run if on_device else self.loading
        status, line = run(f"import {module}\n{more}", seconds)
        if status != 0:
            return failed(f"import {module}", status, line, installed.version)
        return installed

    def probe_version(
        self, module: str, distributions: tuple[str, ...], min_version: str
    ) -> Availability:
        """Whether a module is installed and new enough; it is not imported."""
        if not self.is_installed(module):
            reason = f"{module} is not installed: python -m pip install {module}"
            return Availability(Code.NOT_INSTALLED, reason)
        version = self.version(*distributions)
        if version and too_old(version, min_version):
            reason = f"{module} {version} is older than {min_version}"
            return Availability(Code.VERSION_TOO_OLD, reason, version)
        return Availability(Code.AVAILABLE, "", version)

    def probe_cuda(self, installed: Availability, package: str, needed: str = "") -> Availability:
        """What is installed, if there is a device and a driver of CUDA `needed` for it too."""
        if not installed.ok:
            return installed
        cuda = self.cuda()
        if cuda.code is not Code.AVAILABLE:
            return Availability(cuda.code, cuda.reason, installed.version)
        if needed and too_old(cuda.driver, needed):
            reason = f"the driver runs CUDA {cuda.driver}; this {package} needs {needed}"
            return Availability(Code.VERSION_TOO_OLD, reason, installed.version)
        return installed


HOST = Host(remembered=Remembered(run_probe))
