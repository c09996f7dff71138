"""The child processes of a judge and its copies: one for a cell at a time, forked from few."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from poseconform.isolation.child import Child
from poseconform.isolation.forking import ForkServer


@dataclass
class CellChildren:
    """Keeps the child of the last cell, and the processes that children are forked from."""

    _servers: dict[tuple[str, ...], ForkServer] = field(default_factory=dict)
    _key: object = None
    _child: Child | None = None

    def server(self, modules: tuple[str, ...], log: Path, env: Mapping[str, str]) -> ForkServer:
        """The process that has imported these modules; it starts with its first child."""
        if modules not in self._servers:
            self._servers[modules] = ForkServer(modules, log, env)
        return self._servers[modules]

    def of(self, key: object, make: Callable[[], Child]) -> Child:
        """The child of a cell; that of another one ends."""
        if self._child is None or key != self._key:
            self.release()
            self._key, self._child = key, make()
        return self._child

    def release(self) -> None:
        """End the child of the last cell, if there is one."""
        if self._child is not None:
            self._child.close()
        self._key = self._child = None

    def close(self) -> None:
        """End all of them."""
        self.release()
        for server in self._servers.values():
            server.close()
        self._servers.clear()
