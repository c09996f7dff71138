"""Folders and calls that ask for absurd amounts: an error at once, and nothing allocated."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from posedeploy.errors import BadInputError
from posedeploy.runtime import Arrays, Session, SessionOptions, TensorInfo
from posedeploy.runtime.limits import MAX_CALL_BYTES
from posedeploy.runtime.onnxruntime import OnnxRuntime
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.binding import Binding, batch_of
from posedeploy.sdk.checks import Level
from posedeploy.sdk.decode.detections import read_pose_decoder
from posedeploy.sdk.validate import validate

IMAGE = np.random.default_rng(0).integers(180, 256, (64, 64, 3), dtype=np.uint8)


@contextmanager
def at_once() -> Iterator[None]:
    """Within a second of CPU time and 300 MB of memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


def errors_of(folder: Path) -> list[str]:
    return [str(f) for f in validate(folder) if f.level is Level.ERROR]


# ---- declared sizes --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "detections"])
@pytest.mark.parametrize("batch", [5_000, 100_000, 2**31, 2**62])
def test_a_batch_that_nobody_can_hold_is_refused(folders: Any, kind: str, batch: int) -> None:
    folder = folders.make(kind, batch=batch)
    with at_once(), pytest.raises(BadInputError, match=rf"\[{batch}, 3.* MiB|could not load"):
        PoseDetector(folder)
    with at_once():
        (found,) = errors_of(folder)
    assert f"[{batch}, 3" in found


def test_an_output_that_nobody_can_hold_is_refused(folders: Any) -> None:
    graph = folders.graph("heatmap")
    for dim in graph.graph.output[0].type.tensor_type.shape.dim[1:]:
        dim.dim_value = 2**20
    content = folders.json("heatmap")
    del content["pipeline.json"]["pipeline"]["tasks"][2]["params"]["heatmap_size"]
    folder = folders.write(content, graph)
    with at_once():
        assert any("1048576" in text and "MiB" in text for text in errors_of(folder))


@pytest.mark.parametrize("batch", [0, -5])
def test_a_batch_of_nothing_is_refused_or_dynamic(folders: Any, batch: int) -> None:
    folder = folders.make("simcc", batch=batch)
    if batch == 0:
        with pytest.raises(BadInputError, match=r"\[0, 3"):
            PoseDetector(folder)
    assert errors_of(folder)


def test_a_large_input_comes_in_small_batches() -> None:
    """16 regions of 4096 x 4096 px are 3.2 GB."""
    assert batch_of(Binding("input", {}, 0), 16, (4096, 4096)) == 2
    assert batch_of(Binding("input", {}, 0), 16, (192, 256)) == 16
    assert batch_of(Binding("input", {}, 0), 10**9, (192, 256)) == MAX_CALL_BYTES // (
        192 * 256 * 12
    )
    assert batch_of(Binding("input", {}, 3), 16, (4096, 4096)) == 3


# ---- what the graph returns --------------------------------------------------------------------


class Rows:
    """ONNX Runtime whose outputs lose or gain rows."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self._inner, self._change = OnnxRuntime(), change

    def probe(self) -> Any:
        return self._inner.probe()

    def load(self, files: Any, device: str, options: SessionOptions) -> Session:
        self._session = self._inner.load(files, device, options)
        return self

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._session.outputs

    @property
    def effective_options(self) -> Any:
        return self._session.effective_options

    def run(self, feed: Arrays) -> dict[str, Any]:
        return {name: self._change(array) for name, array in self._session.run(feed).items()}


class NeverLoads(Rows):
    """It must not come to a load."""

    def load(self, files: Any, device: str, options: SessionOptions) -> Session:
        raise AssertionError(f"loaded {files} on {device} with {options}")


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "detections"])
@pytest.mark.parametrize("change", [lambda a: a[:0], lambda a: a[:-1], lambda a: a[0, 0, 0]])
def test_outputs_of_fewer_rows_than_images_are_refused(
    folders: Any, kind: str, change: Callable[[Any], Any]
) -> None:
    detector = PoseDetector(folders.make(kind), runtime=Rows(change))
    with pytest.raises(BadInputError, match="graph output"):
        detector.batch([IMAGE, IMAGE])


def test_a_graph_that_declares_no_rows_is_refused(folders: Any) -> None:
    for kind in ("heatmap", "simcc", "detections"):
        graph = folders.graph(kind)
        for output in graph.graph.output:
            output.type.tensor_type.shape.dim[0].dim_value = 0
        assert any(
            "shape [0, " in text for text in errors_of(folders.write(folders.json(kind), graph))
        )


# ---- arrays of a folder ----------------------------------------------------------------------


def npy(shape: tuple[int, ...], descr: str = "<f4", data: bytes = b"") -> bytes:
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


@pytest.mark.parametrize(
    "content",
    [
        npy((10**12,)),
        npy((2**31,)),
        npy((10**6, 10**6), data=b"1234"),
        npy((2**63, 2**63)),
        npy((4,), "|S2000000000"),
        npy((-4,)),
        npy((2,), data=b"\0" * 400),
        npy((1,), "|O", b"\0" * 8),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x93NUMPY\x09\x00",
        b"",
    ],
)
def test_an_array_larger_than_its_file_is_never_allocated(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("pose_weight.npy", content)
    with at_once(), pytest.raises(BadInputError, match=r"a\.npz"):
        read_pose_decoder(tmp_path, "a.npz", "pipeline.json: $.x")


# ---- boxes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "boxes",
    [
        [0, 0, 10**400, 10**400],
        [0, 0, 1e308, 1e308],
        np.array([[-3e38, -3e38, 3e38, 3e38]], np.float32),
        np.array([[0, 0, 2**63, 2**63]], np.uint64),
        [0, 0, -1e12, 5],
        [10**5000, 0, 0, 0],
        [0, 0, 1j, 5],
        [[0, 0, [1], 5]],
    ],
)
@pytest.mark.parametrize("udp", [False, True])
def test_boxes_beyond_any_image_are_refused(folders: Any, boxes: Any, udp: bool) -> None:
    def change(content: Any) -> None:
        tasks = content["pipeline.json"]["pipeline"]["tasks"]
        tasks[0]["transforms"][2]["use_udp"] = udp

    detector = PoseDetector(folders.make("simcc", change))
    with at_once(), pytest.raises(BadInputError, match=r"boxes: found .*expected"):
        detector(IMAGE, boxes)


@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize("box", [[-1e7, -1e7, 1e7, 1e7], [9e6, 9e6, 1e7, 1e7], [3, 3, 3, 3]])
def test_boxes_far_outside_are_taken(folders: Any, box: Any, udp: bool) -> None:
    def change(content: Any) -> None:
        tasks = content["pipeline.json"]["pipeline"]["tasks"]
        tasks[0]["transforms"][2]["use_udp"] = udp

    with at_once():
        keypoints = PoseDetector(folders.make("simcc", change))(IMAGE, box)
    assert np.isfinite(keypoints).all()


# ---- ONNX under another name -------------------------------------------------------------------


def outside(folder: Path, net: str) -> None:
    """Make the graph take a weight from a file outside its folder, and call it `net`."""
    model = onnx.load(folder / "end2end.onnx")
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    model.graph.initializer.append(tensor)
    model.graph.node.append(helper.make_node("Identity", ["secret"], ["unused"]))
    (folder / "end2end.onnx").unlink()
    (folder / net).write_bytes(model.SerializeToString())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "pplnn"])
@pytest.mark.parametrize(
    "net", ["end2end.onnx", "end2end.ort", "end2end", "x.ONNX", "end2end.xml"]
)
def test_external_data_is_refused_whatever_the_graph_is_called(
    folders: Any, backend: str, net: str
) -> None:
    def change(content: Any) -> None:
        weights = "detail.json" if backend == "openvino" else ""
        content["deploy.json"]["models"][0].update(backend=backend, net=net, weights=weights)

    folder = folders.make("simcc", change)
    outside(folder, net)
    runtime = NeverLoads(lambda array: array)
    with pytest.raises(BadInputError, match=r"secret\.bin|deploy\.json|no XML"):
        PoseDetector(folder, runtime=runtime, verify=False)
    assert errors_of(folder)


# ---- names -------------------------------------------------------------------------------------


def test_names_that_utf8_cannot_hold_are_printed(folders: Any, tmp_path: Path) -> None:
    """`validate` shows a file and a folder of such a name, and refuses it in JSON."""

    def change(content: Any) -> None:
        content["deploy.json"]["models"][0]["name"] = "\ud800"

    broken, whole = folders.make("simcc", change), folders.make("simcc")
    odd = tmp_path / "odd\udcff"
    odd.mkdir()
    for path in whole.iterdir():
        (odd / path.name).write_bytes(path.read_bytes())
    (odd / "link\udcfe").symlink_to("/")
    for folder, status in ((broken, 1), (odd, 1)):
        for words in ((), ("--json",)):
            command = [sys.executable, "-m", "posedeploy", "validate", str(folder), *words]
            done = subprocess.run(command, capture_output=True, check=False, timeout=60)
            assert done.returncode == status, done.stderr.decode()
            assert b"Traceback" not in done.stderr
            assert b"\\ud" in done.stdout
