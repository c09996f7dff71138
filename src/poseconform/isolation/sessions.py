"""The session of a child process: a file is loaded once for all that run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from posedeploy.runtime import Availability, Device, Session, SessionOptions, get_runtime
from posedeploy.runtime.types import DeviceRuntime

_Key = tuple[object, ...]
_loaded: list[tuple[_Key, Session]] = []  # the last one


@dataclass(frozen=True)
class SharedRuntime:
    """A backend's `Runtime` whose `load` gives the session that this process has, if it fits.

    It does if it is of the same files, as they are on disk, with the same options and device.
    """

    backend: str

    def probe(self) -> Availability:
        """See `Runtime.probe`."""
        return get_runtime(self.backend).probe()

    def probe_device(self, kind: str) -> Availability:
        """See `DeviceRuntime.probe_device`."""
        return cast("DeviceRuntime", get_runtime(self.backend)).probe_device(kind)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> Session:
        """See `Runtime.load`."""
        key = self._key(files, device, options)
        for known, session in _loaded:
            if key and key == known:
                return session
        _loaded.clear()  # before the next one takes memory
        session = get_runtime(self.backend).load(files, device, options)
        _loaded.append((key, session))
        return session

    def _key(self, files: Sequence[Path], device: str, options: SessionOptions) -> _Key:
        """What decides a session; () with a folder among the files, which may change inside."""
        if not all(path.is_file() for path in files):
            return ()
        stats = [(path.resolve(), path.stat()) for path in files]
        on_disk = tuple((p, s.st_ino, s.st_size, s.st_mtime_ns) for p, s in stats)
        extra = tuple(sorted(options.extra.items()))
        where = str(Device.parse(device))
        return self.backend, on_disk, where, options.precision, options.threads, extra
