"""What a run finds on this machine: backends that can run, and all that a result depends on."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from poseconform.subject.protocol import Subject
from poseconform.subject.warping import own_warp
from posedeploy.runtime import (
    Availability,
    Code,
    Device,
    backend_distributions,
    backend_row,
    device_of,
    probe_on,
)  # fmt: skip
from posedeploy.runtime.host import installed_versions
from posedeploy.runtime.machine import cpu_facts, gpu_facts, program_output

DISABLE_VARIABLE = "POSECONFORM_DISABLE"  # comma-separated backend names
Probe = Callable[[str, str, str], Availability]  # of a backend, device, inference precision
# Packages of the judge itself; those of the implementation under test are the subject's.
PACKAGES = ("pytest", "pytest-xdist", "hypothesis", "scipy", *backend_distributions())


@dataclass
class Availabilities:
    """Whether backends can run here: each is probed once, on first use, and none raises."""

    subject: Subject
    disabled: Collection[str] = ()  # by the user; they are not probed
    device: str = ""  # where the user wants backends to run; '' for the first device of each
    probe: Probe = probe_on
    _running: dict[str, Availability] = field(default_factory=dict)
    _converting: dict[str, Availability] = field(default_factory=dict)

    def of(
        self, backend: str, precision: str = "fp32", inference_precision: str = ""
    ) -> Availability:
        """Whether `backend` can run here, on the device that it computes in `precision` on.

        `inference_precision` is the flow's, in the backend's own word.
        """
        if backend in self.disabled:
            return Availability(
                Code.DISABLED_BY_USER, f"{backend} is in {DISABLE_VARIABLE} or --disable"
            )
        device = device_of(backend, precision, self.device)
        first = Device.parse(device).kind == backend_row(backend).devices[0]
        name = backend if first else f"{backend} on {device}"
        name += f" in {inference_precision}" if inference_precision else ""
        if name not in self._running:
            running = self.probe(backend, device, inference_precision)
            missing = ", ".join(self.subject.missing_tools(backend)) if running.ok else ""
            if missing:
                reason = f"{missing} is not installed, which converts for {backend}"
                running = Availability(Code.TOOL_MISSING, reason, running.version)
            self._running[name] = running
        return self._running[name]

    def of_converting(self, backend: str) -> Availability:
        """Whether files for `backend` can be made here, which may be so where it cannot run."""
        if backend in self.disabled:
            return self.of(backend)
        if backend not in self._converting:
            self._converting[backend] = self.subject.conversion_availability(backend)
        return self._converting[backend]

    @property
    def probed(self) -> dict[str, Availability]:
        """The answers so far."""
        return dict(self._running)


def disabled_backends(options: Collection[str], environment: str) -> frozenset[str]:
    """Backends named by --disable or by the environment variable."""
    return frozenset(options) | {name.strip() for name in environment.split(",") if name.strip()}


def fingerprint(availabilities: Availabilities, weights_seed: int = 0) -> dict[str, Any]:
    """Machine, system, Python, packages, OpenCV, threads, seeds, backends probed, git commit."""
    return {
        "cpu": cpu_facts(),
        **gpu_facts(),
        "os": {"system": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "python": sys.version.split()[0],
        "packages": {**availabilities.subject.versions(), **package_versions(PACKAGES)},
        "warp": asdict(own_warp()),
        "threads": {"backend": 1, "torch": 1},
        "seeds": {"weights": weights_seed},  # nothing else in a run is drawn at random
        "backends": {
            name: f"{value.code} {value.version}".strip()
            for name, value in sorted(availabilities.probed.items())
        },
        "git": git_commit(Path.cwd()),
    }


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of each package that is installed, without those that another one overwrote."""
    return installed_versions(*packages)


def git_commit(folder: Path) -> str:
    """Commit of the checkout `folder` is in, with '+' if it has changes; '' outside of one."""
    return program_output(["git", "describe", "--always", "--abbrev=12", "--dirty=+"], folder)
