"""The OpenVINO runtime and converter on a small graph."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from posedeploy.config import load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.errors import ConversionError
from posedeploy.runtime import (
    Code,
    PrecisionError,
    SessionOptions,
    TensorInfo,
    get_runtime,
    probe_on,
)
from posedeploy.runtime.host import Host
from posedeploy.runtime.openvino import MAX_STREAMS, OpenVino, OpenVinoSession

pytest.importorskip("openvino")

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((16, 3 * 64)).astype(np.float32)


def write_onnx(path: Path, batch: int | str = "batch", operator: str = "MatMul") -> Path:
    """`output = flatten(input) @ WEIGHT.T`; an unknown `operator` in place of MatMul stays."""
    make = helper.make_tensor_value_info
    shape = numpy_helper.from_array(np.array([-1, 3 * 64]), "shape")
    weight = numpy_helper.from_array(np.ascontiguousarray(WEIGHT.T), "weight")
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["flat"]),
        helper.make_node(operator, ["flat", "weight"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [make("input", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [make("output", TensorProto.FLOAT, [batch, 16])],
        [shape, weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    config = load_deploy_config("pose-detection_openvino_dynamic")
    ir = write_onnx(tmp_path / "model.onnx")
    converted = get_converter("openvino", "fp32").convert(ir, config, tmp_path)
    assert converted.files == ("end2end.xml", "end2end.bin")
    assert converted.precision == "fp32"
    return [tmp_path / name for name in converted.files]


def test_names_shapes_and_numbers(files: list[Path]) -> None:
    session = get_runtime("openvino").load(files, "cpu", SessionOptions())
    assert session.inputs == (TensorInfo("input", ("?", 3, 8, 8), "float32"),)
    assert session.outputs == (TensorInfo("output", ("?", 16), "float32"),)
    for batch in (1, 3):
        image = RNG.standard_normal((batch, 3, 8, 8)).astype(np.float32)
        found = session.run({"input": image})["output"]
        np.testing.assert_allclose(
            found, image.reshape(batch, -1) @ WEIGHT.T, rtol=1e-4, atol=1e-4
        )


def test_results_are_not_overwritten_by_the_next_run(files: list[Path]) -> None:
    session = get_runtime("openvino").load(files, "cpu", SessionOptions())
    first = session.run({"input": np.ones((1, 3, 8, 8), np.float32)})["output"]
    copy = first.copy()
    session.run({"input": np.full((1, 3, 8, 8), -5, np.float32)})
    np.testing.assert_array_equal(first, copy)


def test_the_precision_is_set_and_read_back(files: list[Path]) -> None:
    found = get_runtime("openvino").load(files, "cpu", SessionOptions(threads=1))
    assert found.effective_options["inference_precision"] == "f32"
    options = found.effective_options
    assert 1 <= int(options["num_streams"]) <= MAX_STREAMS
    assert options["inference_num_threads"] == options["num_streams"], "one thread a call"


def test_sessions_are_not_bound_to_the_same_core(files: list[Path]) -> None:
    """Two processes with a session each took twice the time of one: both computed on core 0."""
    session = get_runtime("openvino").load(files, "cpu", SessionOptions())
    assert session._compiled.get_property("ENABLE_CPU_PINNING") is False  # type: ignore[attr-defined]


@dataclass
class Core:
    """An `openvino.Core` of a machine with some cores, as far as compiling is concerned."""

    cores: int
    compiled: list[dict[str, Any]] = field(default_factory=list)

    def compile_model(self, _model: object, _device: str, wanted: dict[str, Any]) -> Any:
        threads = min(wanted.get("INFERENCE_NUM_THREADS", self.cores), self.cores)
        streams = min(int(wanted["NUM_STREAMS"]), threads)
        self.compiled.append(wanted)
        facts = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads}
        return SimpleNamespace(get_property=facts.__getitem__)


@pytest.mark.parametrize(
    ("threads", "cores", "physical", "compiled"),
    [
        (1, 8, 8, [(4, 4)]),
        (1, 2, 2, [(2, 2)]),
        (1, 8, 2, [(4, 4)]),  # the plugin makes two streams of it, each with its one thread
        (2, 8, 8, [(4, 8)]),
        (2, 8, 4, [(4, 8), (2, 4)]),  # four streams would have one thread each
        (2, 4, 2, [(2, 4), (1, 2)]),
        (8, 4, 4, [(1, 8)]),
        (3, 9, 1, [(3, 9)]),  # one stream on the one core
    ],
)
def test_each_stream_has_the_threads_of_a_call(
    threads: int, cores: int, physical: int, compiled: list[tuple[int, int]]
) -> None:
    core = Core(physical)
    OpenVino(cores=cores)._compile(core, None, {}, threads)
    found = [(c["NUM_STREAMS"], c["INFERENCE_NUM_THREADS"]) for c in core.compiled]
    assert found == compiled


def test_where_the_backend_chooses_the_threads_one_call_has_them_all() -> None:
    core = Core(4)
    OpenVino()._compile(core, None, {}, 0)
    assert core.compiled == [{"NUM_STREAMS": "1"}]


class Requests:
    """A compiled model whose requests count themselves, and of which some calls fail."""

    inputs = outputs = ()

    def __init__(self) -> None:
        self.made = 0
        self.failing = False
        self.running = Barrier(1)

    def create_infer_request(self) -> Any:
        self.made += 1
        return SimpleNamespace(infer=self._infer)

    def _infer(self, _feed: object, **_options: object) -> list[object]:
        self.running.wait(10)
        if self.failing:
            raise RuntimeError("no memory")
        return []


def test_there_are_as_many_requests_as_have_run_at_once() -> None:
    requests = Requests()
    session = OpenVinoSession(requests, {})
    for _ in range(3):
        session.run({})
    assert requests.made == 1
    requests.running = Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(session.run, [{}] * 12))
    assert requests.made == 4


def test_a_request_whose_call_failed_is_not_used_again() -> None:
    requests = Requests()
    session = OpenVinoSession(requests, {})
    requests.failing = True
    with pytest.raises(RuntimeError, match="no memory"):
        session.run({})
    requests.failing = False
    session.run({})
    session.run({})
    assert requests.made == 2


FIRST_CALLS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
import numpy as np
from posedeploy.runtime import SessionOptions, get_runtime

session = get_runtime("openvino").load([Path(p) for p in sys.argv[1:]], "cpu", SessionOptions())
start = Barrier(8)

def first(value):
    start.wait()
    session.run({"input": np.full((1, 3, 8, 8), value, np.float32)})

with ThreadPoolExecutor(8) as threads:
    list(threads.map(first, range(8)))
"""


def test_the_first_calls_of_a_process_may_come_from_several_threads(files: list[Path]) -> None:
    """In a process of its own: the binding's first conversions of arrays lock each other out."""
    command = [sys.executable, "-c", FIRST_CALLS, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_precision_that_is_not_taken_is_an_error(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posedeploy.runtime.openvino._effective", lambda _: EFFECTIVE_BF16)
    with pytest.raises(RuntimeError, match="computes in bf16, not in f32"):
        get_runtime("openvino").load(files, "cpu", SessionOptions())


EFFECTIVE_BF16 = {"inference_precision": "bf16"}


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        ("cuda:0", SessionOptions(), "'cuda:0' is not one of"),
        ("cpu", SessionOptions(precision="fp8"), "'fp8' is not one of"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(
    files: list[Path], device: str, options: SessionOptions, words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        get_runtime("openvino").load(files, device, options)


def test_files_that_are_none_are_a_runtime_error(tmp_path: Path) -> None:
    broken = tmp_path / "end2end.xml"
    broken.write_text("<net>")
    with pytest.raises(RuntimeError):
        get_runtime("openvino").load([broken], "cpu", SessionOptions())


def test_fp16_weights_are_reported_as_such(files: list[Path]) -> None:
    import openvino as ov

    from posedeploy.convert.openvino import weight_precision

    model = ov.Core().read_model(files[0])
    rounded = files[0].with_name("rounded.xml")
    ov.save_model(model, rounded, compress_to_fp16=True)
    assert weight_precision(model) == "fp32"
    assert weight_precision(ov.Core().read_model(rounded)) == "fp16"


def test_an_operator_that_it_lacks_is_a_conversion_error(tmp_path: Path) -> None:
    ir = write_onnx(tmp_path / "model.onnx", operator="NoSuchOperator")
    config = load_deploy_config("pose-detection_openvino_dynamic")
    with pytest.raises(ConversionError, match="NoSuchOperator"):
        get_converter("openvino", "fp32").convert(ir, config, tmp_path)


@pytest.mark.parametrize(
    ("status", "listed", "word", "code", "words"),
    [
        (0, "BF16 FP32 INT8", "bf16", Code.AVAILABLE, ""),
        (0, "FP32 INT8", "bf16", Code.NO_DEVICE, "does not compute in bf16 on this CPU, but in"),
        (
            0,
            "BF16 FP32 INT8",
            "f16",
            Code.NO_DEVICE,
            "does not compute in f16 on this CPU, but in",
        ),
        (0, "FP16 FP32 INT8", "f16", Code.AVAILABLE, ""),
        (124, "hang: x", "f32", Code.PROBE_TIMEOUT, "the CPU plugin did not end: hang: x"),
        (-11, "", "f32", Code.BROKEN_INSTALL, "loading the CPU plugin failed"),
    ],
)
def test_a_precision_that_the_processor_lacks_is_unavailable(
    status: int, listed: str, word: str, code: Code, words: str
) -> None:
    def run(code: str, _seconds: float) -> tuple[int, str]:
        return (status, listed) if "OPTIMIZATION_CAPABILITIES" in code else (0, "")

    flags = frozenset({"avx512_bf16"})
    found = OpenVino(Host(run=run, cpu_flags=lambda: flags)).probe_inference_precision(word)
    assert found.code is code
    assert words in found.reason


def test_bf16_that_the_plugin_takes_and_the_cpu_lacks_is_unavailable(files: list[Path]) -> None:
    """The plugin lists what it can emulate too: bf16 on every CPU with AVX-512."""

    def run(_code: str, _seconds: float) -> tuple[int, str]:
        return 0, "BF16 FP32 INT8"

    emulating = OpenVino(Host(run=run, cpu_flags=lambda: frozenset({"avx2", "avx512f"})))
    words = "this CPU would emulate bf16: it has none of avx512_bf16, avx_ne_convert, bf16"
    found = emulating.probe_inference_precision("bf16")
    assert (found.code, found.reason) == (Code.NO_DEVICE, words)
    assert emulating.probe_inference_precision("f32").ok
    with pytest.raises(PrecisionError, match=words):
        emulating.load(files, "cpu", SessionOptions("bf16"))
    unlisted = OpenVino(Host(run=run, cpu_flags=lambda: None))  # on Windows the plugin knows best
    assert unlisted.probe_inference_precision("bf16").ok


def test_what_this_processor_lists_is_what_is_computed(files: list[Path]) -> None:
    """The list and the compiled model must not contradict each other."""
    for word in ("f16", "bf16", "f32"):
        options = SessionOptions(extra={"inference_precision": word})
        if probe_on("openvino", "cpu", word).ok:
            session = get_runtime("openvino").load(files, "cpu", options)
            assert session.effective_options["inference_precision"] == word
        else:
            with pytest.raises(PrecisionError, match=f"(not in|emulate) {word}"):
                get_runtime("openvino").load(files, "cpu", options)


SIGNAL_AFTER_SESSIONS = """
import gc, os, signal, sys
from pathlib import Path
from posedeploy.runtime import SessionOptions, get_runtime

first, second = (
    get_runtime("openvino").load([Path(sys.argv[1])], "cpu", SessionOptions()) for _ in range(2)
)
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_is_handled_after_sessions_have_ended_in_their_order(files: list[Path]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SIGNAL_AFTER_SESSIONS, str(files[0])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended.stderr


@pytest.mark.parametrize("batch", [5_000, 100_000])
def test_a_batch_that_nobody_can_hold_is_refused_before_it_is_compiled(
    tmp_path: Path, batch: int
) -> None:
    """Compiling a graph of 100,000 images took 3.6 GB."""
    path = write_onnx(tmp_path / "a.onnx", batch)
    with pytest.raises(RuntimeError, match=rf"'input' of shape \[{batch}, 3, 8, 8\]; expected"):
        get_runtime("openvino").load([path], "cpu", SessionOptions())
