"""A script that turns an exported program into a `.tflite` file in float32, by litert-torch.

Run by path: `python litert_child.py PROGRAM FILE SIGNATURE`, where SIGNATURE is the name of the
extra file with names and shapes.  In a process of its own, because litert-torch imports JAX,
registers classes with torch, and writes to both outputs with no switch for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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
    import litert_torch

    extra = {signature: ""}
    loaded = torch.export.load(program, extra_files=extra)
    infos = json.loads(extra[signature])
    module = Named(loaded.module(), [info["name"] for info in infos["outputs"]])
    (image,) = infos["inputs"]
    example = torch.rand(image["shape"], generator=torch.Generator().manual_seed(0))
    edge = litert_torch.convert(module, sample_kwargs={image["name"]: example})
    edge.export(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
