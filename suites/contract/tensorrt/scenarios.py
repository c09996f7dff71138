"""What an adapter has to do, on small graphs: build, plan, run.

Each scenario is a function that raises if something is not as it should be.  The contract suite
runs them over the real bindings of several versions, each in a process of its own; the unit tests
over plain enumerations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fixtures.threads import THREADS, compare_threads
from posedeploy.config import load_deploy_config
from posedeploy.convert.tensorrt import BuildSettings, build_engine, builder_facts, convert
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import SessionOptions, StoredPrecision, get_runtime

from .graphs import SIZE, write_network, write_suppression

DEPLOY_CONFIG = """
onnx_config = dict(type='onnx', save_file='end2end.onnx', input_names=['input'],
                   output_names=['output'], input_shape=[12, 16], dynamic_axes={axes})
codebase_config = dict(type='mmpose', task='PoseDetection')
backend_config = dict(type='tensorrt', common_config=dict({flags}max_workspace_size=1 << 20),
    model_inputs=[dict(input_shapes=dict(input=dict(
        min_shape=[1, 3, 16, 12], opt_shape=[2, 3, 16, 12], max_shape=[{most}, 3, 16, 12])))])
"""
FLAGS = {"fp32": "", "fp16": "fp16_mode=True, ", "int8": "fp16_mode=True, int8_mode=True, "}


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    """`[count, 3, 16, 12]` of noise."""
    return np.random.default_rng(seed).random((count, *SIZE), np.float32)


def calibration() -> CalibrationSet:
    """Four inputs."""

    def inputs() -> Iterator[NDArray[np.float32]]:
        for seed in range(4):
            yield images(1, seed)

    return CalibrationSet("noise", 4, inputs)


def converted(folder: Path, precision: str, mode: str) -> tuple[Path, Path]:
    """A graph, and the engine that the converter makes of it."""
    dynamic = mode == "dynamic"
    ir = write_network(folder / "end2end.onnx", "batch" if dynamic else 1)
    config = folder / "deploy.py"
    config.write_text(DEPLOY_CONFIG.format(
        axes="dict(input={0: 'batch'}, output={0: 'batch'})" if dynamic else None,
        flags=FLAGS[precision], most=4 if dynamic else 1,
    ))  # fmt: skip
    work = folder / "work"
    work.mkdir()
    done = convert(ir, load_deploy_config(config), work, calibration())
    assert done.files == ("end2end.engine",), done
    assert done.precision == precision, done
    return ir, work / done.files[0]


def plan_head(engine: Path) -> Mapping[str, Any]:
    """The options that the fake builder was given."""
    head: Mapping[str, Any] = json.loads(engine.read_bytes().partition(b"\n")[0])
    return head


def load(engine: Path, precision: str = "fp32") -> Any:
    """A session of the engine."""
    return get_runtime("tensorrt").load([engine], "cuda", SessionOptions(precision))


def on_onnxruntime(graph: Path, feed: NDArray[np.float32]) -> NDArray[Any]:
    """The first output of a graph."""
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    found: NDArray[Any] = session.run(None, {"input": feed})[0]
    return found


def refused(call: Callable[[], object], kind: type[Exception], *words: str) -> None:
    """`call` raises `kind`, and the message has every one of the words."""
    message = None
    try:
        call()
    except kind as error:
        message = str(error)
    assert message is not None, f"no {kind.__name__}"
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


def strongly_typed() -> bool:
    """Whether this version's engines are to be strongly typed: from 10.12 on."""
    major, minor = (int(part) for part in builder_facts()[0].split(".")[:2])
    return (major, minor) >= (10, 12)


def fp32_static(folder: Path) -> None:
    ir, engine = converted(folder, "fp32", "static")
    head = plan_head(engine)
    assert head["flags"] == [], f"TF32 or more is on: {head['flags']}"
    assert head["strong"] is strongly_typed()
    assert head["pools"] == {"WORKSPACE": 1 << 20}
    session = load(engine)
    assert session.inputs[0].shape == (1, *SIZE)
    assert (session.inputs[0].dtype, session.outputs[0].name) == ("float32", "output")
    assert session.effective_options["tf32"] == "off"
    assert session.effective_options["inference_precision"] == "fp32"
    first, second = (session.run({"input": images(1, seed)})["output"] for seed in (1, 2))
    assert np.array_equal(first, on_onnxruntime(ir, images(1, 1))), "overwritten or wrong"
    assert np.array_equal(second, on_onnxruntime(ir, images(1, 2)))


def fp32_dynamic(folder: Path) -> None:
    ir, engine = converted(folder, "fp32", "dynamic")
    shapes = [[batch, *SIZE] for batch in (1, 2, 4)]
    assert plan_head(engine)["profiles"] == [{"input": shapes}]
    session = load(engine)
    assert session.inputs[0].shape == ("batch", *SIZE)
    assert session.effective_options["profile"] == "input 1x3x16x12 to 4x3x16x12"
    for count in (1, 3, 4, 5, 9):  # the last two are run in parts
        feed = images(count, count)
        found = session.run({"input": feed})["output"]
        assert np.allclose(found, on_onnxruntime(ir, feed), atol=1e-5), count
        assert found.shape[0] == count


def out_of_profile(folder: Path) -> None:
    _, engine = converted(folder, "fp32", "dynamic")
    session = load(engine)
    tall = np.zeros((2, 3, 32, 12), np.float32)
    words = ("[2, 3, 32, 12]", "outside of the engine's profile", "1x3x16x12 to 4x3x16x12")
    refused(lambda: session.run({"input": tall}), RuntimeError, *words)
    refused(lambda: session.run({"input": tall[:0]}), RuntimeError, "outside")
    assert session.run({"input": images(2)})["output"].shape == (2, 4, *SIZE[1:])


def fp16(folder: Path) -> None:
    ir, engine = converted(folder, "fp16", "dynamic")
    head = plan_head(engine)
    assert head["flags"] == ([] if strongly_typed() else ["FP16"])
    session = load(engine, "fp16")
    assert {info.dtype for info in (*session.inputs, *session.outputs)} == {"float32"}
    feed = images(3)
    error = np.abs(session.run({"input": feed})["output"] - on_onnxruntime(ir, feed)).max()
    if strongly_typed():  # the graph itself is fp16: more than float32's rounding, and little
        assert 1e-5 < error < 0.1, error


def int8(folder: Path) -> None:
    ir, engine = converted(folder, "int8", "static")
    assert plan_head(engine)["flags"] == ([] if strongly_typed() else ["FP16", "INT8"])
    feed = images(1)
    found = load(engine, "int8").run({"input": feed})["output"]
    truth = on_onnxruntime(ir, feed)
    noise = 10 * np.log10(np.sum(truth**2) / np.sum((found - truth) ** 2))
    assert 15 < noise < 60, f"SQNR {noise:.1f} dB"


def data_dependent_shape(folder: Path) -> None:
    graph = write_suppression(folder / "nms.onnx")
    plan = build_engine(graph, BuildSettings(StoredPrecision.FP32, 0, strongly_typed()))
    engine = folder / "end2end.engine"
    engine.write_bytes(plan.plan)
    session = load(engine)
    rows = set()
    for seed in range(6):
        feed = np.random.default_rng(seed).normal(size=(1, 1, 5)).astype(np.float32)
        found = session.run({"input": feed})["selected"]
        assert np.array_equal(found, on_onnxruntime(graph, feed))
        assert found.dtype == np.int64
        rows.add(len(found))
    assert len(rows) > 1, f"always {rows} rows: nothing depends on the data"


def foreign_engine(folder: Path) -> None:
    _, engine = converted(folder, "fp32", "static")
    refused(lambda: load(engine, "fp16"), RuntimeError, "built for fp32, not for fp16")
    engine.write_bytes(engine.read_bytes().replace(b'"version": "1', b'"version": "9', 1))
    refused(lambda: load(engine), RuntimeError, "does not load end2end.engine", "plan of 9")
    refused(
        lambda: get_runtime("tensorrt").load([engine], "cuda:7", SessionOptions()),
        RuntimeError, "no device 7",
    )  # fmt: skip
    refused(
        lambda: get_runtime("tensorrt").load([engine], "cpu", SessionOptions()),
        RuntimeError, "device 'cpu'",
    )  # fmt: skip


def timing_cache(folder: Path) -> None:
    graph = write_network(folder / "end2end.onnx")
    settings = BuildSettings(StoredPrecision.FP32, 0, strongly_typed())
    first = build_engine(graph, settings)
    assert first.timing_cache, "nothing to keep"
    assert build_engine(graph, settings, first.timing_cache).timing_cache == first.timing_cache
    other = build_engine(graph, settings, b"timings:of another version")
    assert other.timing_cache == first.timing_cache, "a foreign cache was used"
    damaged = build_engine(graph, settings, b"\0 half a file")
    assert damaged.timing_cache == first.timing_cache, "a damaged cache was used"


def second_errors_are_its_own(folder: Path) -> None:
    """TensorRT writes to the first logger of a process while what was made with it lives."""
    _, engine = converted(folder, "fp32", "static")
    loaded = load(engine)
    for digit in "89":
        other = folder / f"{digit}.engine"
        foreign = engine.read_bytes().replace(b'"version": "1', f'"version": "{digit}'.encode(), 1)
        other.write_bytes(foreign)
        refused(partial(load, other), RuntimeError, f" {digit}.engine: plan of {digit}")
    assert loaded.run({"input": images(1)})["output"].shape == (1, 4, *SIZE[1:])


def threads(folder: Path) -> None:
    _, engine = converted(folder, "fp32", "static")
    feeds = [{"input": images(1, seed)} for seed in range(THREADS)]
    found = compare_threads(load(engine).run, feeds)
    assert not found.mismatches, found


SCENARIOS: Mapping[str, Callable[[Path], None]] = {
    scenario.__name__: scenario
    for scenario in (
        data_dependent_shape, foreign_engine, fp16, fp32_dynamic, fp32_static, int8,
        out_of_profile, second_errors_are_its_own, threads, timing_cache,
    )
}  # fmt: skip
