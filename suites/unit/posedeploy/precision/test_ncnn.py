"""ncnn's files, walked layer by layer, and the int8 scales that are put into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from posedeploy.convert.ncnn import weight_precision
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.ncnn_files import Layer, kernel, read_param, walk, write_param
from posedeploy.precision.ncnn_int8 import float_layers, largest_values, quantize_ncnn
from posedeploy.runtime import SessionOptions, get_runtime

RNG = np.random.default_rng(0)
PARAM = """7767517
7 7
Input          in   0 1 in 0=8 1=8 2=3
Convolution    c1   1 1 in a 0=4 1=3 4=1 5=1 6=108 9=1
ConvolutionDepthWise c2 1 1 a b 0=4 1=3 4=1 5=1 6=36 7=4
Convolution    c3   1 1 b c 0=4 1=1 5=0 6=16
Pooling        pool 1 1 c d 0=1 4=1
InnerProduct   fc1  1 1 d e 0=6 1=1 2=24 9=1
InnerProduct   fc2  1 1 e output 0=5 1=1 2=30
"""


def block(*numbers: int, tag: bool = True) -> bytes:
    weights = RNG.standard_normal(numbers[0]).astype("<f4").tobytes()
    bias = b"".join(RNG.standard_normal(n).astype("<f4").tobytes() for n in numbers[1:])
    return (b"\0\0\0\0" if tag else b"") + weights + bias


def write(folder: Path, param: str = PARAM, weights: bytes | None = None) -> tuple[Path, Path]:
    files = folder / "m.param", folder / "m.bin"
    files[0].write_text(param)
    made = block(108, 4) + block(36, 4) + block(16) + block(24, 6) + block(30, 5)
    files[1].write_bytes(made if weights is None else weights)
    return files


def noise(count: int = 8, scale: float = 1.0) -> CalibrationSet:
    def inputs() -> Iterator[NDArray[np.float32]]:
        rng = np.random.default_rng(1)
        for _ in range(count):
            yield (scale * rng.standard_normal((1, 3, 8, 8))).astype(np.float32)

    return CalibrationSet("noise", count, inputs)


def run(files: tuple[Path, Path], precision: str, array: NDArray[np.float32]) -> Any:
    session = get_runtime("ncnn").load(files, "cpu", SessionOptions(precision))
    return session.run({"in": array})["output"]


# --- the files ----------------------------------------------------------------------------------


def test_a_param_file_is_written_as_it_was_read(tmp_path: Path) -> None:
    layers = read_param(write(tmp_path)[0])
    assert layers[1] == Layer(
        "Convolution", "c1", ("in",), ("a",),
        {0: "4", 1: "3", 4: "1", 5: "1", 6: "108", 9: "1"},
    )  # fmt: skip
    write_param(tmp_path / "again.param", layers)
    assert read_param(tmp_path / "again.param") == layers


def test_arrays_of_parameters_are_preserved(tmp_path: Path) -> None:
    line = "Slice s 1 2 a b c -23300=2,2,-233 1=0\n"
    files = write(tmp_path, "7767517\n2 4\nInput in 0 1 a\n" + line)
    slices = read_param(files[0])[1]
    assert slices.params == {-23300: "2,2,-233", 1: "0"}
    assert str(slices).split() == ["Slice", "s", "1", "2", "a", "b", "c", "1=0", "-23300=2,2,-233"]


def test_every_layers_weights_are_found(tmp_path: Path) -> None:
    files = write(tmp_path)
    content = files[1].read_bytes()
    places = walk(read_param(files[0]), content)
    sizes = [(p.layer.name, (p.end - p.start) // 4) for p in places]
    assert sizes == [("c1", 113), ("c2", 41), ("c3", 17), ("fc1", 31), ("fc2", 36)]
    np.testing.assert_array_equal(
        kernel(places[3], content), np.frombuffer(content[places[3].start + 4 :], "<f4", 24)
    )


# type, parameters, and how many bytes ncnn 1.0.20261020 reads for it
@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("BatchNorm x 1 1 in o 0=3", 4 * 12),
        ("Scale x 1 1 in o 0=3 1=1", 4 * 6),
        ("PReLU x 1 1 in o 0=3", 4 * 3),
        ("LayerNorm x 1 1 in o 0=8", 4 * 16),
        ("LayerNorm x 1 1 in o 0=8 2=0", 0),
        ("GroupNorm x 1 1 in o 0=1 1=3", 4 * 6),
        ("MemoryData x 0 1 o 0=5 1=2", 4 * 10),
        ("MemoryData x 0 1 o 0=5 21=0", 4 + 4 * 5),
        ("Gemm x 1 1 in o 3=1 5=1 6=1 8=6 9=8 10=4", 4 + 4 * 48 + 4 + 4 * 6),
        ("Deconvolution x 1 1 in o 0=2 1=2 5=1 6=24", 4 + 4 * 24 + 4 * 2),
        ("MultiHeadAttention x 1 1 in o 0=8 1=2 2=64", 4 * (4 + 4 * 64) + 4 * 32),
    ],
)
def test_each_type_reads_as_many_bytes_as_ncnn(tmp_path: Path, line: str, count: int) -> None:
    ncnn = pytest.importorskip("ncnn")
    param = f"7767517\n2 2\nInput in 0 1 in\n{line}\n"
    files = write(tmp_path, param, bytes(count))
    assert walk(read_param(files[0]), bytes(count))[-1].end == count
    net = ncnn.Net()
    assert net.load_param(str(files[0])) == 0
    assert net.load_model(str(files[1])) == 0
    if count:  # and no fewer
        files[1].write_bytes(bytes(count - 4))
        short = ncnn.Net()
        assert short.load_param(str(files[0])) == 0
        assert short.load_model(str(files[1])) != 0


@pytest.mark.parametrize(
    ("param", "weights", "words"),
    [
        (PARAM.replace("Pooling ", "Embed "), None, "layer pool of type Embed"),
        (PARAM, b"\x47\x6b\x30\x01" + bytes(800), "weights of c1 that are not float32"),
        (PARAM, bytes(10_000), "10000 bytes"),
        ("7\n", None, "not 7767517"),
    ],
)
def test_what_cannot_be_walked_is_an_error(
    tmp_path: Path, param: str, weights: bytes | None, words: str
) -> None:
    files = write(tmp_path, param, weights)
    with pytest.raises(ConversionError, match=words):
        walk(read_param(files[0]), files[1].read_bytes())


# --- int8 ---------------------------------------------------------------------------------------


@pytest.fixture
def quantized(tmp_path: Path) -> Any:
    pytest.importorskip("ncnn")
    files = write(tmp_path)
    out = tmp_path / "q.param", tmp_path / "q.bin"
    return files, out, quantize_ncnn(files, out, noise())


def test_the_network_runs_in_int8_and_computes_nearly_the_same(quantized: Any) -> None:
    files, out, done = quantized
    assert done.layers == ("c1", "c2", "c3", "fc1")
    assert done.kept == {"fc2": "last layers"}
    assert [weight_precision(*pair) for pair in (files, out)] == ["fp32", "int8"]
    signal = error = 0.0
    for array in noise().inputs():
        truth, found = run(files, "fp32", array), run(out, "int8", array)
        signal, error = signal + (truth**2).sum(), error + ((truth - found) ** 2).sum()
    assert 0 < error < signal / 100  # 20 dB; none at all would mean that nothing was quantized


def test_quantized_files_are_not_run_in_another_precision(quantized: Any) -> None:
    """With its int8 switch off ncnn computes something else from them, without a word."""
    _, out, _ = quantized
    with pytest.raises(RuntimeError, match=r"q\.param is quantized"):
        get_runtime("ncnn").load(out, "cpu", SessionOptions("fp32"))


def test_layers_and_blobs_keep_their_names_and_scales_follow_the_bias(quantized: Any) -> None:
    files, out, _ = quantized
    before, after = read_param(files[0]), read_param(out[0])
    assert [(x.name, x.inputs, x.outputs) for x in before] == [
        (x.name, x.inputs, x.outputs) for x in after
    ]
    assert [layer.params.get(8) for layer in after] == [None, "2", "1", "2", None, "2", None]
    content, written = files[1].read_bytes(), out[1].read_bytes()
    first = walk(before, content)[0]
    scales = np.frombuffer(written[first.end : first.end + 5 * 4], "<f4")
    peaks = np.abs(kernel(first, content).reshape(4, -1)).max(axis=1)
    largest = max(float(np.abs(array).max()) for array in noise().inputs())
    np.testing.assert_allclose(scales, 127 / np.array([*peaks, largest]), rtol=1e-6)
    assert len(written) - len(content) == 4 * (5 + 5 + 5 + 7)


def test_ranges_follow_the_calibration_set(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    files = write(tmp_path)
    small, large = (largest_values(files, {"in", "b"}, noise(4, s)) for s in (1.0, 10.0))
    assert large["in"] == pytest.approx(10 * small["in"], rel=1e-5)
    assert large["b"] > small["b"]


def test_files_that_ncnn_refuses_are_an_error(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    files = write(tmp_path, weights=b"")
    with pytest.raises(ConversionError, match="status"):
        largest_values(files, {"in"}, noise())


def test_litehrnets_depthwise_convolution_is_identified_by_its_position(tmp_path: Path) -> None:
    param = PARAM.replace("fc1  1 1 d e", "fc1  1 1 x e").replace("fc2", "c4")
    lines = [
        "Input in 0 1 in", "ConvolutionDepthWise dw 1 1 in a 6=9", "Convolution pw 1 1 a b 6=9",
        "Convolution last 1 1 b output 6=9",
    ]  # fmt: skip
    param = f"7767517\n4 4\n{chr(10).join(lines)}\n"
    kept = float_layers(read_param(write(tmp_path, param)[0]))
    assert kept == {"last": "last layers", "dw": "LiteHRNet's last depthwise convolution"}


def test_nothing_to_quantize_is_an_error(tmp_path: Path) -> None:
    files = write(tmp_path)
    names = [layer.name for layer in read_param(files[0])]
    with pytest.raises(ConversionError, match="no layer that ncnn quantizes"):
        quantize_ncnn(files, (tmp_path / "q.param", tmp_path / "q.bin"), noise(), keep=names)
