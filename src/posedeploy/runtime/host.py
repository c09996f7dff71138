"""What probes ask of this machine, as one collaborator: packages, child processes, the driver."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from posedeploy.runtime.cuda_device import CudaDevices, cuda_devices
from posedeploy.runtime.probing import (
    PROBE_SECONDS,
    distribution_version,
    ended,
    is_installed,
    run_probe,
    too_old,
)
from posedeploy.runtime.types import Availability, Code


@dataclass(frozen=True)
class Host:
    """The machine that is probed.

    Attributes:
        platform: As `sys.platform`.
        is_installed: Whether a top-level module can be found.
        version: Version of the first of these distributions that is installed, '' if none is.
        run: Runs Python code in a child process, for so many seconds: exit status, last line.
        cuda: The NVIDIA driver and its devices.
    """

    platform: str = sys.platform
    is_installed: Callable[[str], bool] = is_installed
    version: Callable[..., str] = distribution_version
    run: Callable[[str, float], tuple[int, str]] = run_probe
    cuda: Callable[[], CudaDevices] = cuda_devices

    def probe_import(
        self,
        module: str,
        distributions: tuple[str, ...],
        min_version: str,
        check: str = "",
        seconds: float = PROBE_SECONDS,
    ) -> Availability:
        """The probe most backends need: found, new enough, imports in a child process.

        Args:
            module: Module to import in the child.
            distributions: Names under which it may be installed; the first gives the version.
            min_version: Oldest version supported.
            check: More Python code for the child; it fails the probe by raising.
            seconds: How long the child may take.
        """
        if not self.is_installed(module):
            reason = f"{module} is not installed: python -m pip install {module}"
            return Availability(Code.NOT_INSTALLED, reason)
        version = self.version(*distributions)
        if version and too_old(version, min_version):
            reason = f"{module} {version} is older than {min_version}"
            return Availability(Code.VERSION_TOO_OLD, reason, version)
        status, line = self.run(f"import {module}\n{check}", seconds)
        if status != 0:
            reason = f"import {module} failed ({ended(status)}): {line}"
            return Availability(Code.BROKEN_INSTALL, reason, version)
        return Availability(Code.AVAILABLE, "", version)


HOST = Host()
