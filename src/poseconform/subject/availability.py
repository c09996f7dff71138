"""Whether a backend can run here: probed once a run, never raises, overridable by the user."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from poseconform.subject.protocol import Subject
from posedeploy.runtime import Availability, Code, Device, backend_row, device_of, probe_on

DISABLE_VARIABLE = "POSECONFORM_DISABLE"  # comma-separated backend names
Probe = Callable[[str, str, str], Availability]


@dataclass
class Availabilities:
    """Probes backends on first use and caches the answer.

    Args:
        subject: The implementation under test, which may need tools to convert.
        disabled: Backends that the user has switched off; they are not probed.
        device: Where the user wants them to run, '' for the first device of each.
        probe: Probes a backend, given its name, a device, and what it must compute in.
    """

    subject: Subject
    disabled: Collection[str] = ()
    device: str = ""
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
