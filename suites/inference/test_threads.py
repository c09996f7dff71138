"""One detector, and one session, called from eight threads: each gets the result of its own image.

On small networks with real operators, and on a model of the zoo for OpenVINO, whose requests come
from a pool.  The results of one thread and of eight must be equal in every bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.images import photograph
from fixtures.threads import CALLS, THREADS, Comparison, compare_threads
from fixtures.tiny_models import TinyModel
from posedeploy.apis.deploying import deploy
from posedeploy.runtime import SessionOptions, get_runtime
from posedeploy.sdk import PoseDetector

BACKENDS = ("litert", "mnn", "ncnn", "onnxruntime", "openvino", "torchscript")
DEPLOY_CONFIGS = {
    "rtmpose_t": "pose-detection_simcc_{}_static",
    "yoloxpose_tiny": "pose-detection_yolox-pose_{}_static",
}
Floats = NDArray[np.float32]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in BACKENDS],
)
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that runs here."""
    name = str(request.param)
    found = get_runtime(name).probe()
    if not found.ok:
        pytest.skip(f"unavailable:{found.code}: {found.reason}")
    return name


@pytest.fixture(scope="module", params=DEPLOY_CONFIGS)
def folder(
    request: pytest.FixtureRequest,
    backend: str,
    tiny_model: Callable[[str], TinyModel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An SDK model folder of a small network."""
    tiny, deploy_config = tiny_model(request.param), DEPLOY_CONFIGS[request.param].format(backend)
    target = tmp_path_factory.mktemp("threads") / "sdk"
    return deploy(deploy_config, tiny.config, tiny.checkpoint, target).folder


def images() -> list[NDArray[np.uint8]]:
    """Parts of a photograph."""
    image = photograph("astronaut")
    return [image[40 * i : 40 * i + 200, 30 * i : 30 * i + 160].copy() for i in range(THREADS)]


def equal(found: Comparison) -> None:
    assert found.calls >= CALLS
    assert not found.mismatches, found


def test_a_detector_gives_each_thread_its_own(folder: Path) -> None:
    with PoseDetector(folder) as alone, PoseDetector(folder) as shared:
        equal(compare_threads(shared, images(), alone=alone))


def test_a_session_gives_each_thread_its_own(folder: Path, backend: str) -> None:
    with PoseDetector(folder) as detector:
        files, (width, height) = detector.model.backend_files(), detector.input_size
    alone, shared = (
        get_runtime(backend).load(files, "cpu", SessionOptions(threads=1)) for _ in range(2)
    )
    name, rng = shared.inputs[0].name, np.random.default_rng(0)
    feeds = [
        {name: rng.standard_normal((1, 3, height, width)).astype(np.float32)}
        for _ in range(THREADS)
    ]
    equal(compare_threads(shared.run, feeds, alone=alone.run))


@pytest.mark.openvino
@pytest.mark.parametrize("backend", ["openvino"], indirect=True)
def test_a_model_of_the_zoo_gives_each_thread_its_own(backend: str, tmp_path: Path) -> None:
    config = DEPLOY_CONFIGS["rtmpose_t"].format(backend)
    folder = deploy(config, "rtmpose_t", "calibrated", tmp_path / "sdk").folder
    with PoseDetector(folder) as alone, PoseDetector(folder) as shared:
        equal(compare_threads(shared, images(), alone=alone))


class SharedInput:
    """A session that copies what it is given to its one input."""

    def __init__(self) -> None:
        self._input = np.zeros(4, np.float32)

    def run(self, feed: Floats) -> Floats:
        self._input[:] = feed
        time.sleep(0)  # what computes natively lets other threads run
        return self._input * 2


class SharedOutput:
    """A session that gives views of its one output."""

    def __init__(self) -> None:
        self._output = np.zeros(4, np.float32)

    def run(self, feed: Floats) -> Floats:
        np.multiply(feed, 2, out=self._output)
        return self._output


@pytest.mark.parametrize("unsafe", [SharedInput, SharedOutput])
def test_a_session_with_one_buffer_is_caught(unsafe: type[SharedInput | SharedOutput]) -> None:
    feeds = [np.full(4, value, np.float32) for value in range(THREADS)]
    found = compare_threads(unsafe().run, feeds)
    assert found.mismatches
    assert 2 <= found.largest <= 2 * (THREADS - 1)


def test_results_that_cannot_tell_threads_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="value 1 has the result of another"):
        compare_threads(np.zeros_like, [np.zeros(2), np.ones(2)], calls=2)
