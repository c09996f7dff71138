"""End this process when its parent ends; on Linux also as a script that becomes another program.

Run by path, with the standard library alone: `python parent.py PARENT PROGRAM ARGUMENT...`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # linux/prctl.h; it outlives exec
POLL_SECONDS = 0.5


def end_with_parent(parent: int, platform: str = sys.platform) -> None:
    """Have this process killed when the process `parent`, which started it, ends.

    Linux does it, whatever this process is busy with, when the thread that started this process
    ends. Elsewhere a thread looks for the parent, which a library that holds the GIL can keep from
    running.
    """
    if platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def main() -> None:
    """Become the program of the command line, which ends with its parent."""
    parent, *command = sys.argv[1:]
    end_with_parent(int(parent))
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
