"""What the benchmarks print, keep in `reports/bench/`, and write into docs/speed.md."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from posedeploy.cli.profile.ratios import Ratio
from posedeploy.runtime.host import installed_versions
from posedeploy.runtime.machine import cpu_facts

FOLDER = Path("reports/bench")
VERSIONS = (
    "mmdeploy-runtime", "numpy", "onnxruntime", "opencv-python-headless", "openvino", "rtmlib",
    "torch",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A table of one benchmark, and what it was made of."""

    name: str  # of its file, and of its marks on the page
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    data: Mapping[str, Any]
    within_budget: bool = True


def shown(ratio: Ratio | None) -> tuple[str, str]:
    """Two cells: a ratio, and its interval if there were rounds enough."""
    if ratio is None:
        return "-", "-"
    interval = f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio.low else "-"
    return f"{ratio.median:.3f}", interval


def publish(result: Result, out: Path | None) -> int:
    """Print the table and write the file, by default `FOLDER/NAME.json`: the exit status."""
    out = out or FOLDER / f"{result.name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "cpu": cpu_facts(), "python": sys.version.split()[0], "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(), "load": os.getloadavg()[0],
        "head": result.head, "rows": result.rows, "notes": result.notes, **result.data,
    }  # fmt: skip
    out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    console = Console(highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in result.head:
        table.add_column(column, overflow="fold")
    for row in result.rows:
        table.add_row(*row)
    console.print(table)
    console.print(*result.notes, f"wrote {out}", sep="\n", soft_wrap=True)
    return 0 if result.within_budget else 1


def versions() -> dict[str, str]:
    """Those of the packages that decide what is measured; what is not installed is left out."""
    return {name: version for name, version in installed_versions(*VERSIONS).items() if version}


def in_page(text: str, name: str, document: Mapping[str, Any]) -> str:
    """A page with the table of a benchmark between its marks.

    Raises:
        ValueError: The page does not have the marks of this benchmark.
    """
    begin, end = f"<!-- bench {name}: begin -->", f"<!-- bench {name}: end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"not one pair of marks: {begin} … {end}")
    rows = [document["head"], ["---"] * len(document["head"]), *document["rows"]]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    cpu, packages = document["cpu"], document["versions"].items()
    what = [
        document["date"], f"{cpu.get('model', cpu['machine'])}, {cpu['count']} CPUs",
        f"load {document['load']:.0f}", f"Python {document['python']}",
        *(f"{name} {version}" for name, version in packages),
    ]  # fmt: skip
    notes = "".join(f"\n{note}\n" for note in document["notes"])
    made = f"{begin}\n\n{table}\n{notes}\nMeasured {' · '.join(what)}.\n\n{end}"
    return pattern.sub(lambda _: made, text)
