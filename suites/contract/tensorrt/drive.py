"""Runs every scenario over the real bindings of one version: `python -m … STUB FOLDER`.

The last line that it prints is JSON: 'failures', scenario -> traceback, and 'called', the members
of TensorRT's classes that were called.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path

from .api import read_api
from .fakes import install
from .scenarios import SCENARIOS


def main(stub: Path, folder: Path) -> None:
    """Install the fakes and run."""
    called: list[str] = []
    install(importlib.import_module("tensorrt_bindings"), read_api(stub), called)
    failures: dict[str, str] = {}
    for name, scenario in SCENARIOS.items():
        place = folder / name
        place.mkdir()
        try:
            scenario(place)
        except Exception:  # noqa: BLE001 - it is the answer; the test on the other side fails
            failures[name] = traceback.format_exc()
    print(json.dumps({"failures": failures, "called": sorted(set(called))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
