"""Load backend files and run them; called by name in a child process that holds the session.

Only numpy and the backend are loaded here.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from posedeploy.runtime import Session, SessionOptions, TensorInfo, get_runtime

_sessions: list[Session] = []


@dataclass(frozen=True)
class Loaded:
    """What a session says of itself after loading."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    effective_options: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Ran:
    """Outputs of one run and how long the backend took."""

    outputs: Mapping[str, NDArray[Any]]
    seconds: float


# ---- modify this table to add a reading of the judge's own, for where a backend cannot run ----
EVALUATORS: Mapping[str, str] = {
    "coreml": "poseconform.evaluators.mil",  # module with a `load` like a runtime's
    "pplnn": "poseconform.evaluators.onnx",
}
# ------------------------------------------------------------------------------------------------


def load(
    backend: str,
    files: Sequence[str],
    device: str,
    options: SessionOptions,
    evaluate: bool = False,
) -> Loaded:
    """Load the files and keep the session for `run`.

    Args:
        backend: Backend name.
        files: Its files, the main one first.
        device: Where to run.
        options: How to run.
        evaluate: True for the judge's own reading of the files, False for the backend's runtime.
    """
    started = time.perf_counter()
    own = importlib.import_module(EVALUATORS[backend]) if evaluate else get_runtime(backend)
    session = cast("Session", own.load([Path(f) for f in files], device, options))
    _sessions[:] = [session]
    seconds = time.perf_counter() - started
    return Loaded(session.inputs, session.outputs, dict(session.effective_options), seconds)


def run(feed: NDArray[Any]) -> Ran:
    """Run the loaded session on its only input.

    Args:
        feed: `[N, 3, H, W]` float32, normalized.
    """
    session = _sessions[0]
    started = time.perf_counter()
    outputs = session.run({session.inputs[0].name: feed})
    return Ran(outputs, time.perf_counter() - started)
