"""What of a `.tflite` file a phone's GPU refuses: `python -m posedeploy.convert.litert_gpu FILE`.

A graph with such an operator does not run on LiteRT's GPU accelerator as a whole: what it refuses
is computed by the CPU, with a copy before and after.  The list was made from reports of LiteRT 2.1
to 2.3, without a phone: what is not on it may be refused as well.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from posedeploy.runtime import SessionOptions, get_runtime
from posedeploy.runtime.litert import Graph, read_graph

# ---- modify this table to add an operator --------------------------------------------------
REFUSED = frozenset(
    {"FILL", "GATHER", "GELU", "RELU_0_TO_1", "SELECT", "SHAPE", "SPLIT", "STRIDED_SLICE"}
)
MAX_DIMENSIONS = 4
# --------------------------------------------------------------------------------------------
TENSORS = f"tensors of more than {MAX_DIMENSIONS} dimensions"


def refused_by_gpu(graph: Graph) -> dict[str, int]:
    """Operator, or `TENSORS` → how many of them a graph has; empty for one that a GPU takes."""
    found = Counter(operator.kind for operator in graph.operators if operator.kind in REFUSED)
    if large := sum(len(tensor.shape) > MAX_DIMENSIONS for tensor in graph.tensors):
        found[TENSORS] = large
    return dict(sorted(found.items()))


def main(file: str) -> None:
    """Print what is refused, one a line."""
    get_runtime("litert").load([Path(file)], "cpu", SessionOptions())  # verifies it
    found = refused_by_gpu(read_graph(Path(file)))
    for name, count in found.items():
        print(f"{name}: {count}")
    print("refused by a GPU: " + (f"{sum(found.values())} in all" if found else "nothing known"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m posedeploy.convert.litert_gpu")
    parser.add_argument("file", help="a .tflite file")
    main(parser.parse_args().file)
