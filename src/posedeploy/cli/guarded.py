"""`python -m posedeploy.cli.guarded MODULE …`: a module run so that no traceback leaves it.

For the judge's report, which the toolchain runs and must not import.
"""

from __future__ import annotations

import os
import runpy
import sys

from posedeploy.cli.internal import INTERNAL, internal_line, write_log
from posedeploy.workflow import inert


def main() -> None:
    """Run the module that the first argument names with the others, as `python -m` does."""
    del sys.argv[0]
    words = [sys.argv[0].rpartition(".")[2], *sys.argv[1:]]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except Exception as error:  # noqa: BLE001 - none leaves it as a traceback
        line = internal_line(error, words, write_log(error, words))
        github = os.environ.get("GITHUB_ACTIONS") == "true"
        print(inert(line) if github else line, file=sys.stderr)
        sys.exit(INTERNAL)


if __name__ == "__main__":
    main()
