"""Python's search for unreachable cycles of objects, and where it is not worth its time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for unreachable cycles in the block.

    Every search looks at all objects, and torch alone brings half a million that stay: in a
    conversion, which creates objects and ends, the searches are 7 to 13 % of the CPU time and free
    30 to 100 MB. What the block created counts as old afterwards (`freeze`, `unfreeze`): the first
    search after it would look at all of it again. Not for what runs on and on, such as `infer` on
    a stream.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if not gc.get_freeze_count():  # else what a caller froze would be thawed
                gc.freeze()
                gc.unfreeze()
            gc.enable()
