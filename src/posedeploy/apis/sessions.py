"""A session that the conversion has loaded, for the comparison: some take seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from posedeploy.runtime import Availability, Runtime, Session, SessionOptions, get_runtime
from posedeploy.runtime.types import DeviceRuntime


class LoadedOnce:
    """A backend's runtime that returns its last session to the next load of the same files.

    Device and options must be the same too. A session is returned once: its second owner may
    close it.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loaded: tuple[list[Any], Session] | None = None

    @classmethod
    def of(cls, backend: str) -> LoadedOnce:
        """That of a backend."""
        return cls(get_runtime(backend))

    def probe(self) -> Availability:
        """See `Runtime.probe`."""
        return self._runtime.probe()

    def probe_device(self, kind: str) -> Availability:
        """See `DeviceRuntime.probe_device`."""
        return cast("DeviceRuntime", self._runtime).probe_device(kind)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> Session:
        """See `Runtime.load`."""
        stats = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        key = [stats, device, options]
        before, self._loaded = self._loaded, None
        if before is not None and before[0] == key:
            return before[1]
        session = self._runtime.load(files, device, options)
        self._loaded = key, session
        return session
