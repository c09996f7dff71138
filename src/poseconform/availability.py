"""Why a backend cannot run here: probed once a run, never raises, overridable by the user."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from posedeploy.runtime import Availability, Code, get_runtime

from . import implementations

DISABLE_VARIABLE = "POSECONFORM_DISABLE"  # comma-separated backend names


@dataclass
class Availabilities:
    """Probes backends on first use and remembers the answer.

    Args:
        disabled: Backends that the user has switched off; they are not probed.
    """

    disabled: Collection[str] = ()
    _known: dict[str, Availability] = field(default_factory=dict)
    _converting: dict[str, Availability] = field(default_factory=dict)

    def of(self, backend: str) -> Availability:
        """Whether `backend` can run here."""
        if backend in self.disabled:
            return Availability(
                Code.DISABLED_BY_USER, f"{backend} is in {DISABLE_VARIABLE} or --disable"
            )
        if backend not in self._known:
            self._known[backend] = _probe(backend)
        return self._known[backend]

    def of_converting(self, backend: str) -> Availability:
        """Whether files for `backend` can be made here, which may be so where it cannot run."""
        if backend in self.disabled:
            return self.of(backend)
        if backend not in self._converting:
            self._converting[backend] = implementations.conversion_availability(backend)
        return self._converting[backend]

    @property
    def known(self) -> dict[str, Availability]:
        """What has been probed so far."""
        return dict(self._known)


def _probe(backend: str) -> Availability:
    found = get_runtime(backend).probe()
    missing = ", ".join(implementations.missing_tools(backend)) if found.ok else ""
    if missing:
        reason = f"{missing} is not installed, which converts for {backend}"
        return Availability(Code.TOOL_MISSING, reason, found.version)
    return found


def disabled_backends(options: Collection[str], environment: str) -> frozenset[str]:
    """Backends named by --disable or by the environment variable."""
    return frozenset(options) | {name.strip() for name in environment.split(",") if name.strip()}
