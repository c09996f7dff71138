"""A script that writes which files its process has loaded: modules and libraries.

It is run at the end of a probe, in a child process, by path, with the standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from types import ModuleType

MAPS = "/proc/self/maps"


def write(target: str, maps: str = MAPS) -> None:
    """Write the paths as one list of JSON; nothing where the system does not list libraries.

    Folders of packages are among them: what is installed later changes their time. A disk that is
    full is no fault of the library that was loaded.
    """
    if not os.path.exists(maps):
        return
    # vars(): some packages import a module when an attribute of it is read
    modules = (vars(m) for m in list(sys.modules.values()) if issubclass(type(m), ModuleType))
    found = {str(names.get("__file__")) for names in modules} | set(map(str, sys.path))
    with open(maps, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:  # proc(5): address, perms, offset, dev, inode, pathname
            found.update(field.strip() for field in line.split(None, 5)[5:])
    with contextlib.suppress(OSError), open(target, "w", encoding="utf-8") as out:
        json.dump(sorted(path for path in found if os.path.isabs(path)), out)
