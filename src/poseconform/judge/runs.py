"""Load backend files, run them, and what came out: runs of a cell over all samples, in batches.

`load` and `run` are called by name in a child process that holds the session; only numpy and the
backend are loaded there.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from poseconform.isolation.sessions import SharedRuntime
from posedeploy.runtime import Session, SessionOptions, TensorInfo, backend_row

# How often a warm session is timed on one image: no more once it has taken so many seconds.
MIN_TIMED, MAX_TIMED, TIMED_SECONDS = 2, 5, 0.2
_sessions: list[Session] = []


@dataclass(frozen=True)
class Loaded:
    """What a session reports after loading."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    effective_options: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Ran:
    """Outputs of one run and how long the backend took."""

    outputs: Mapping[str, NDArray[Any]]
    seconds: float


@dataclass(frozen=True)
class Batch:
    """One run of the backend, on samples that it names by their index.

    Where the graph ends before suppression, mmpose's own head has made `detections` of its
    outputs: `dets` and `keypoints`; elsewhere they are empty.
    """

    samples: tuple[int, ...]
    outputs: Mapping[str, NDArray[Any]]
    seconds: float
    detections: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """A cell's backend run over all samples.

    `timed` are seconds of runs on one image by a session that has run such an image before.
    """

    loaded: Loaded
    batches: tuple[Batch, ...]
    timed: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What is judged: the graph's outputs, or the detections that were made of them."""
        return tuple(self.batches[0].detections) or tuple(i.name for i in self.loaded.outputs)

    def rows(self, name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """All rows of what is judged, `[R, ...]`, and the sample of each.

        Where a batch has fewer detections than another, its rest is zeros, as padding is.
        """
        return self._rows([{**batch.outputs, **batch.detections}[name] for batch in self.batches])

    def graph_rows(self, output: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """All rows of an output of the graph, `[R, ...]`, and the sample of each."""
        return self._rows([batch.outputs[output] for batch in self.batches])

    def _rows(self, parts: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        index = np.concatenate([np.asarray(batch.samples, np.intp) for batch in self.batches])
        sizes = np.max([part.shape[1:] for part in parts], axis=0)
        whole = (np.pad(p, [(0, 0), *((0, n) for n in sizes - p.shape[1:])]) for p in parts)
        return np.concatenate(list(whole)), index


def plan_batches(shape_mode: str, samples: int) -> tuple[tuple[int, ...], ...]:
    """Which samples are run together: one by one, or in batches of 1, 2 and 5 that overlap.

    The overlap shows whether an image's result depends on its batch.
    """
    if shape_mode == "static":
        return tuple((i,) for i in range(samples))
    return ((0,), tuple(range(1, min(3, samples))), tuple(range(1, min(6, samples))))


def input_fault(inputs: Sequence[TensorInfo], expected: tuple[int, ...]) -> str:
    """Why a file cannot be given images `[N, 3, H, W]` of the expected `(3, H, W)`, '' if it can.

    A dimension without a size takes any; a shape that is not known before a run is not judged.
    """
    if len(inputs) != 1:
        return f"inputs {[info.name for info in inputs]}; expected one, the image"
    name, shape = inputs[0].name, inputs[0].shape
    if not shape:
        return ""
    sizes = list(zip(shape[1:], expected, strict=False))
    if len(shape) != 1 + len(expected) or any(n not in {m, str(n)} for n, m in sizes):
        last = tuple(shape[1:]) == (*expected[1:], expected[0])
        layout = " (channels last)" if last else ""
        wanted = ", ".join(map(str, expected))
        return f"{name}: shape {list(shape)}{layout}; expected [N, {wanted}]"
    return ""


def load(
    backend: str,
    files: Sequence[str],
    device: str,
    options: SessionOptions,
    evaluate: bool = False,
) -> Loaded:
    """Load a backend's files, the main one first, into a session that `run` runs.

    `evaluate` is True for the judge's own evaluator of the files, False for the backend's runtime.
    """
    started = time.perf_counter()
    module = backend_row(backend).evaluator
    if evaluate and not module:
        raise ValueError(f"the judge has no evaluator for {backend}")
    _sessions.clear()
    runtime = importlib.import_module(module) if evaluate else SharedRuntime(backend)
    session = cast("Session", runtime.load([Path(f) for f in files], device, options))
    _sessions.append(session)
    seconds = time.perf_counter() - started
    return Loaded(session.inputs, session.outputs, dict(session.effective_options), seconds)


def run(feed: NDArray[Any]) -> Ran:
    """Run the loaded session on its only input, `[N, 3, H, W]` float32, normalized."""
    session = _sessions[0]
    started = time.perf_counter()
    outputs = session.run({session.inputs[0].name: feed})
    return Ran(outputs, time.perf_counter() - started)


def time_runs(feed: NDArray[Any]) -> tuple[float, ...]:
    """Seconds of runs on `feed`, `[1, 3, H, W]`, after one that warms the session up.

    The first run on a shape allocates and compiles: it can take twelve times as long.
    """
    run_filled(feed)
    seconds = [run_filled(feed).seconds for _ in range(MIN_TIMED)]
    while len(seconds) < MAX_TIMED and sum(seconds) < TIMED_SECONDS:
        seconds.append(run_filled(feed).seconds)
    return tuple(seconds)


def run_filled(feed: NDArray[Any]) -> Ran:
    """As `run`, of a file with a fixed batch that may be larger than `feed`.

    The last image fills it, and the rows of the filling are left out.
    """
    ran = run(filled(feed, _sessions[0].inputs[0].shape))
    return Ran({name: rows[: len(feed)] for name, rows in ran.outputs.items()}, ran.seconds)


def filled(feed: NDArray[Any], shape: tuple[int | str, ...]) -> NDArray[Any]:
    """A feed `[N, 3, H, W]` with its last image repeated up to the batch of a declared shape."""
    batch = shape[0] if shape and isinstance(shape[0], int) else 0
    return np.concatenate([feed, np.repeat(feed[-1:], max(0, batch - len(feed)), axis=0)])
