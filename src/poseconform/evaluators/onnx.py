"""A backend's ONNX file evaluated by ONNX Runtime, where the backend itself cannot run.

This checks the conversion of the graph, and proves nothing about the backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posedeploy.runtime import Session, SessionOptions, get_runtime


def load(files: Sequence[Path], device: str, options: SessionOptions) -> Session:
    """Load the file on the CPU, in float32; the signature is that of `Runtime.load`."""
    del device
    float32 = SessionOptions("fp32", options.threads)
    return Evaluated(get_runtime("onnxruntime").load(files[:1], "cpu", float32), "onnxruntime")


class Evaluated:
    """A session that reports an evaluator in place of the backend."""

    def __init__(self, session: Session, evaluator: str) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self.effective_options = {"evaluator": evaluator}
        self.run = session.run
