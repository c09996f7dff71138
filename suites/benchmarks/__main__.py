"""Writes the tables of docs/speed.md: `python -m suites.benchmarks`.

They are those that the benchmarks left in `reports/bench/`; one that has none there stays as it
is. Arguments are names of benchmarks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from suites.benchmarks.tables import FOLDER, in_page

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def main(names: list[str]) -> None:
    """Write the tables of these benchmarks, or of all that were run."""
    for path in sorted(FOLDER.glob("*.json")):
        if not names or path.stem in names:
            document = json.loads(path.read_text("utf-8"))
            PAGE.write_text(in_page(PAGE.read_text("utf-8"), path.stem, document), "utf-8")
            sys.stdout.write(f"{PAGE.name}: {path.stem}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
