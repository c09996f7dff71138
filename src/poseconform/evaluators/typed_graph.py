"""The graph that an engine was built from, evaluated by ONNX Runtime where no engine can run.

TensorRT for RTX leaves the graph beside the engine: typed for the flow's precision, as NVIDIA's
parser has read it. This checks what the toolchain made of the model, and proves nothing about the
engine itself; results are recorded with the evaluator's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poseconform.evaluators.onnx import Evaluated
from posedeploy.runtime import Session, SessionOptions, get_runtime

GRAPH = "end2end.onnx"
EVALUATOR = "onnxruntime, of the graph that the engine was built from"


def load(files: Sequence[Path], device: str, options: SessionOptions) -> Session:
    """Load the graph beside the engine on the CPU; the signature is that of `Runtime.load`."""
    del device
    graph = files[0].with_name(GRAPH)
    return Evaluated(get_runtime("onnxruntime").load([graph], "cpu", options), EVALUATOR)
