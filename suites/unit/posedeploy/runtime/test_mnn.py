"""The MNN runtime on a small graph that MNN itself has converted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.mnn_graphs import CHANNELS, SIZE, convert_graph, image, write_graph
from fixtures.threads import THREADS, compare_threads
from posedeploy.runtime import Session, SessionOptions, TensorInfo, get_runtime
from posedeploy.runtime.mnn import WINOGRAD, Mnn, backend_in_force

pytest.importorskip("MNN", reason="unavailable:not-installed")

from posedeploy.runtime.quantized.mnn_file import measure

Files = Callable[[str], Path]


def load(path: Path, precision: str = "fp32", **extra: str) -> Session:
    return get_runtime("mnn").load([path], "cpu", SessionOptions(precision, extra=extra))


def error(path: Path, graph: Path, **extra: str) -> float:
    """Largest error of `map` against ONNX Runtime, as a fraction of its largest value."""
    feed = {"input": image(0)}
    expected = get_runtime("onnxruntime").load([graph], "cpu", SessionOptions()).run(feed)["map"]
    found = load(path, **extra).run(feed)["map"]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_names_shapes_and_options(mnn_file: Files) -> None:
    session = load(mnn_file("fp32"))
    assert session.inputs == (TensorInfo("input", (1, 3, SIZE, SIZE), "float32"),)
    shape = (1, CHANNELS, SIZE, SIZE)
    assert set(session.outputs) == {TensorInfo(n, shape, "float32") for n in ("map", "gelu")}
    assert session.effective_options == {
        "inference_precision": "fp32", "num_threads": "1", "winograd": "off",
    }  # fmt: skip


def test_winograd_is_off_for_it_rounds_more(mnn_file: Files, mnn_graph: Path) -> None:
    exact = error(mnn_file("fp32"), mnn_graph)
    assert exact < 2e-6
    assert error(mnn_file("fp32"), mnn_graph, **{WINOGRAD: "on"}) > 4 * exact


def test_any_batch(mnn_file: Files) -> None:
    session, images = load(mnn_file("fp32")), image(0, 3)
    together = session.run({"input": images})
    alone = [session.run({"input": one[None]}) for one in images]
    for name in ("map", "gelu"):
        expected = np.concatenate([outputs[name] for outputs in alone])
        np.testing.assert_allclose(together[name], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((0, 3, SIZE, SIZE), "shape [0, 3, 32, 32]; expected ['N', 3, 32, 32]"),
        ((1, 4, SIZE, SIZE), "shape [1, 4, 32, 32]; expected ['N', 3, 32, 32]"),
        ((1, 3, SIZE), "shape [1, 3, 32]; expected"),
    ],
)
def test_another_shape_is_refused(mnn_file: Files, shape: tuple[int, ...], words: str) -> None:
    session = load(mnn_file("fp32"))
    with pytest.raises(RuntimeError, match=re.escape(words)):
        session.run({"input": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("names", [(), ("image",), ("input", "image")])
def test_other_inputs_are_refused(mnn_file: Files, names: tuple[str, ...]) -> None:
    """Of none at all MNN makes a SIGSEGV."""
    session = load(mnn_file("fp32"))
    with pytest.raises(RuntimeError, match=r"expected \['input'\]"):
        session.run(dict.fromkeys(names, image(0)))


def test_threads_get_their_own_results(mnn_file: Files) -> None:
    alone, shared = load(mnn_file("fp32")), load(mnn_file("fp32"))
    feeds = [{"input": image(seed)} for seed in range(THREADS)]
    found = compare_threads(shared.run, feeds, 100, alone.run)
    assert (found.calls >= 100, found.mismatches) == (True, 0)


def test_nothing_is_printed(mnn_file: Files, capfd: pytest.CaptureFixture[str]) -> None:
    load(mnn_file("fp32")).run({"input": image(0)})
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"{}", "no graph in its 2 bytes"),
        (b"\0" * 524, "no graph in its 524 bytes"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "end2end.mnn"
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=f"mnn could not load end2end.mnn: {words}"):
        load(path)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_refused(mnn_file: Files, tmp_path: Path, part: float) -> None:
    whole = mnn_file("fp32").read_bytes()
    path = tmp_path / "end2end.mnn"
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(RuntimeError, match=r"could not load end2end\.mnn: no graph in its"):
        load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        load(tmp_path / "end2end.mnn")


def test_mnn_replaces_a_backend_that_it_lacks_and_that_is_refused(mnn_file: Files) -> None:
    assert backend_in_force("VULKAN") == backend_in_force("CPU"), "in silence"
    runtime = Mnn(in_force=lambda _name: 7)
    with pytest.raises(RuntimeError, match="computes on its backend 7, not on the CPU"):
        runtime.load([mnn_file("fp32")], "cpu", SessionOptions())


def test_the_noise_of_a_layer_in_int8_is_that_of_its_weights(mnn_file: Files) -> None:
    """Weights on a grid of int8 have none; of two convolutions the last one stays in float32."""
    int8, fp32 = ([str(mnn_file(precision))] for precision in ("int8", "fp32"))
    right = measure(int8, fp32, image(0, 2))
    assert (len(right.layers), right.multiplying) == (1, 2)
    assert right.layers[0].sqnr_db > 100
    assert not measure(fp32, fp32, image(0)).layers


def test_a_layer_of_another_file_is_noise(mnn_file: Files, tmp_path: Path) -> None:
    other = convert_graph(write_graph(tmp_path / "other.onnx", scale=1.1), "fp32")
    found = measure([str(mnn_file("int8"))], [str(other)], image(0))
    assert found.layers[0].sqnr_db == pytest.approx(20.8, abs=0.5)  # of 1 / 1.1


@pytest.mark.parametrize(
    ("device", "precision", "words"),
    [("cuda", "fp32", "'cuda' is not one of"), ("cpu", "int4", "'int4' is not one of")],
)
def test_what_it_cannot_do_is_refused_by_name(
    mnn_file: Files, device: str, precision: str, words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        get_runtime("mnn").load([mnn_file("fp32")], device, SessionOptions(precision))
