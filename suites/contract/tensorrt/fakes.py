"""A module `tensorrt` whose factories are fakes, held to the names of a version.

Everything that the real bindings have without NVIDIA's libraries is theirs: enumerations, `Dims`,
`ILogger`, `IOutputAllocator`.  What a factory would make is made by `fake_build` and `fake_run`.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from . import fake_build, fake_run
from .api import Api, held_to


def install(real: Any, api: Api | None, called: list[str]) -> types.ModuleType:
    """Make `import tensorrt` give the fakes.

    Args:
        real: The real bindings, or `plain.bindings`.
        api: The names to enforce; None enforces none.
        called: Gets the calls that were made.
    """
    module = types.ModuleType("tensorrt")
    vars(module).update({k: v for k, v in vars(real).items() if not k.startswith("__")})
    vars(module)["__version__"] = real.__version__
    hold = held_to(api, called)
    for cls in (*fake_build.CLASSES, *fake_run.CLASSES):
        # a copy: what a version lacks is taken away from it
        parts = {k: v for k, v in vars(cls).items() if k not in {"__dict__", "__weakref__"}}
        vars(module)[cls.__name__] = hold(type(cls.__name__, cls.__bases__, parts))
    sys.modules["tensorrt"] = module
    return module
