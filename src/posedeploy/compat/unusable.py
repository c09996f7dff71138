"""Classes that can be imported, subclassed and registered, but not instantiated."""

from __future__ import annotations

from typing import NoReturn


class StandInUsedError(RuntimeError):
    """Code ran a name that was only provided so that `import mmpose` succeeds."""


def unusable(name: str, reason: str) -> type:
    """A class in place of `name`; whoever calls it gets the reason."""

    def refuse(_self: object, *_args: object, **_kwargs: object) -> NoReturn:
        raise StandInUsedError(f"{name} was called, but {reason}")

    return type(name.rsplit(".", 1)[-1], (), {"__init__": refuse, "__module__": __name__})
