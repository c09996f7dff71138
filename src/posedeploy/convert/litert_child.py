"""A script that turns an exported program into a `.tflite` file in float32, by litert-torch.

Run by path: `python litert_child.py PROGRAM FILE SIGNATURE`, where SIGNATURE is the name of the
extra file with names and shapes.  In a process of its own, because litert-torch imports JAX,
registers classes with torch, and writes to both outputs with no switch for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch


class Named(torch.nn.Module):
    """A program whose outputs have names: those of the file's signature."""

    def __init__(self, program: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.program, self.names = program, names

    def forward(self, **image: torch.Tensor) -> dict[str, torch.Tensor]:
        """One input by its name → outputs by theirs."""
        return dict(zip(self.names, self.program(*image.values()), strict=True))


def main(program: str, target: str, signature: str) -> None:
    """Convert a `.pt2` file; raises what litert-torch raises."""
    extra = {signature: ""}
    loaded = torch.export.load(program, extra_files=extra)
    import litert_torch

    infos = json.loads(extra[signature])
    module = Named(loaded.module(), [info["name"] for info in infos["outputs"]])
    (image,) = infos["inputs"]
    example = torch.rand(image["shape"], generator=torch.Generator().manual_seed(0))
    edge = litert_torch.convert(module, sample_kwargs={image["name"]: example})
    edge.export(target)


def summarize(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """As Python does, with a last line that the parent finds among those of native code."""
    sys.__excepthook__(kind, error, trace)
    first = (str(error).strip() or "no message").splitlines()[0]
    print(f"\nrefused: {kind.__name__}: {first}", file=sys.stderr)


if __name__ == "__main__":
    sys.excepthook = summarize
    main(*sys.argv[1:])
