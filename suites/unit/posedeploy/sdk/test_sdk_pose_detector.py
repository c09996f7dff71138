"""`PoseDetector` from a folder to keypoints, on graphs whose answers are known."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.runtime import (
    Arrays,
    Availability,
    Code,
    PrecisionError,
    Session,
    SessionOptions,
)
from posedeploy.runtime.onnxruntime import OnnxRuntime
from posedeploy.sdk import PoseDetector

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(180, 256, (90, 120, 3), dtype=np.uint8)
BOXES = [[10, 5, 60, 80], [-20, 0, 130, 50], [50, 50, 51, 52]]


def entry(content: dict[str, Any]) -> dict[str, Any]:
    return content["deploy.json"]["models"][0]  # type: ignore[no-any-return]


def task(content: dict[str, Any], index: int) -> dict[str, Any]:
    return content["pipeline.json"]["pipeline"]["tasks"][index]  # type: ignore[no-any-return]


def spotted(x: int, y: int) -> Any:
    """An image of the input's size in which one 4x4 block of heatmap cells is bright."""
    image = np.zeros((64, 48, 3), np.uint8)
    image[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = 255
    return image


def people(*rows: list[int]) -> Any:
    """A 64x64 image that the detections graph reads as these `dets` rows, 0 to 255."""
    image = np.zeros((64, 64, 3), np.uint8)
    for line, row in zip(image[..., 0], rows, strict=False):
        line[: len(row)] = row
    image[:4, :9, 1] = np.arange(36).reshape(4, 9)
    return image


def test_a_bright_block_is_where_the_keypoint_is(folders: Any) -> None:
    def exact(content: dict[str, Any]) -> None:
        task(content, 0)["transforms"][1]["padding"] = 1

    detector = PoseDetector(folders.make("heatmap", exact))
    keypoints = detector(spotted(5, 7))
    assert keypoints.shape == (1, 3, 3)
    assert keypoints.dtype == np.float32
    np.testing.assert_array_equal(keypoints[0, :, :2], [[20, 28]] * 3)  # neighbors are equal
    shifted = detector(np.pad(spotted(5, 7), ((30, 0), (17, 0), (0, 0))), [17, 30, 65, 94])
    np.testing.assert_array_equal(shifted[0, :, :2], [[37, 58]] * 3)


@pytest.mark.parametrize("kind", ["heatmap", "simcc"])
@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_boxes_together_equal_each_alone(folders: Any, kind: str, batch: int | str) -> None:
    detector = PoseDetector(folders.make(kind, batch=batch))
    together = detector(IMAGE, BOXES)
    assert together.shape == (3, 3, 3)
    assert (together[0, :, 2] > 0).all()
    for box, row in zip(BOXES, together, strict=True):
        np.testing.assert_array_equal(detector(IMAGE, box)[0], row)
        np.testing.assert_array_equal(detector(IMAGE, [box])[0], row)
        np.testing.assert_array_equal(detector(IMAGE, np.array([box]))[0], row)


STRIDES = {
    "mirrored": (slice(None), slice(None, None, -1)),
    "upside down": (slice(None, None, -1),),
    "rgb": (slice(None), slice(None), slice(None, None, -1)),
    "every other": (slice(None, None, 2), slice(None, None, 3)),
}


@pytest.mark.parametrize("case", STRIDES)
def test_any_strides_will_do(folders: Any, case: str) -> None:
    detector, image = PoseDetector(folders.make("heatmap")), IMAGE[STRIDES[case]]
    assert not image.flags.c_contiguous
    np.testing.assert_array_equal(detector(image), detector(image.copy()))
    read_only = np.broadcast_to(image[:1], image.shape)
    np.testing.assert_array_equal(detector(read_only), detector(read_only.copy()))


def test_an_array_above_the_limit_is_refused(folders: Any) -> None:
    detector = PoseDetector(folders.make("heatmap"), max_pixels=90 * 120)
    assert len(detector(IMAGE)) == 1
    with pytest.raises(BadInputError, match=r"120x91 px.*at most 10,800 px.*max_pixels"):
        detector(np.zeros((91, 120, 3), np.uint8))
    giant = np.broadcast_to(np.uint8(0), (32_000, 32_000, 3))  # 2.9 GiB if it were copied
    for limit in (10**8, 10**12):
        with pytest.raises(BadInputError, match="32000x32000 px"):
            PoseDetector(folders.make("heatmap"), max_pixels=limit)(giant)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_images_in_one_batch_equal_each_alone(folders: Any, batch_size: int) -> None:
    detector = PoseDetector(folders.make("simcc"), batch_size=batch_size)
    images, boxes = [IMAGE, IMAGE[:40], IMAGE[:, :30]], [BOXES, None, []]
    arrays = detector.batch(images, boxes)
    assert [array.shape for array in arrays] == [(3, 3, 3), (1, 3, 3), (0, 3, 3)]
    for image, box, array in zip(images, boxes, arrays, strict=True):
        np.testing.assert_array_equal(detector(image, box), array)
    assert [array.shape for array in detector.batch([IMAGE, IMAGE])] == [(1, 3, 3)] * 2
    assert detector.batch([]) == []


class CountedSession:
    """A session that notes the batch of each call."""

    def __init__(self, session: Session, calls: list[int]) -> None:
        self._session, self._calls = session, calls
        self.inputs, self.outputs = session.inputs, session.outputs
        self.effective_options = session.effective_options

    def run(self, feed: Arrays) -> dict[str, Any]:
        self._calls.append(len(feed["input"]))
        return self._session.run(feed)


@dataclass(frozen=True)
class Replaced(OnnxRuntime):
    """ONNX Runtime of which parts are other than here."""

    calls: list[int] = field(default_factory=list)
    missing: str = ""
    emulated: str = ""  # a precision

    def probe_device(self, kind: str) -> Availability:
        return Availability(Code.NO_DEVICE, f"the driver has no {kind}")

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> Any:
        if self.missing:
            raise ImportError(f"No module named {self.missing!r}")
        if options.precision == self.emulated:
            raise PrecisionError(f"this CPU would emulate {self.emulated}")
        return CountedSession(super().load(files, device, options), self.calls)


def test_the_graph_is_called_as_seldom_as_its_batch_allows(folders: Any) -> None:
    counted = Replaced()
    PoseDetector(folders.make("simcc"), batch_size=2, runtime=counted)(IMAGE, BOXES)
    PoseDetector(folders.make("simcc", batch=1), runtime=counted)(IMAGE, BOXES)
    PoseDetector(folders.make("simcc", batch=2), runtime=counted)(IMAGE, BOXES)
    assert counted.calls == [2, 1, 1, 1, 1, 2, 2]


def test_no_boxes_give_no_keypoints(folders: Any) -> None:
    for kind in ("heatmap", "simcc"):
        assert PoseDetector(folders.make(kind))(IMAGE, []).shape == (0, 3, 3)


def test_given_boxes_come_back(folders: Any) -> None:
    poses = PoseDetector(folders.make("simcc")).detect(IMAGE, BOXES)
    np.testing.assert_array_equal(poses.boxes, np.array(BOXES, np.float32))
    assert poses.scores.tolist() == [1, 1, 1]


def test_bottom_up_finds_people_and_drops_padding(folders: Any) -> None:
    detector = PoseDetector(folders.make("detections"))
    image = people([1, 2, 30, 40, 2], [5, 6, 200, 8, 1])
    poses = detector.detect(image)
    assert not detector.top_down
    np.testing.assert_array_equal(poses.boxes, [[1, 2, 30, 40], [5, 6, 64, 8]])
    assert poses.scores.tolist() == [2, 1]
    np.testing.assert_array_equal(poses.keypoints, np.arange(18).reshape(2, 3, 3))
    np.testing.assert_array_equal(detector(image), poses.keypoints)
    assert detector(people()).shape == (0, 3, 3)
    arrays = detector.batch([people(), image, people([0, 0, 1, 1, 1])])
    assert [len(array) for array in arrays] == [0, 2, 1]


def test_bottom_up_maps_back_to_the_larger_image(folders: Any) -> None:
    detector = PoseDetector(folders.make("detections"))
    small = people([10, 20, 30, 40, 1])
    large = np.repeat(np.repeat(small, 2, 0), 2, 1)
    np.testing.assert_array_equal(detector.detect(large).boxes, [[20, 40, 60, 80]])


def test_names_of_the_graph_may_be_mapped(folders: Any) -> None:
    graph = folders.graph("simcc", input_name="pixels")
    for name, position in (("pixels", ["simcc_x", "simcc_y"]), ("#0", ["#0", "#1"])):
        content = folders.json("simcc")
        task(content, 1)["input_map"] = {"img": name}
        task(content, 1)["output_map"] = dict(zip(("simcc_x", "simcc_y"), position, strict=True))
        assert PoseDetector(folders.write(content, graph))(IMAGE).shape == (1, 3, 3)


def test_what_a_caller_expects(folders: Any) -> None:
    folder = folders.make("heatmap")
    with PoseDetector(folder / "deploy.json", "cpu", 0, threads=1) as detector:
        detector.warm_up(2)
        assert detector.dataset_meta.keypoint_names == ("nose", "left", "right")
        assert detector.input_size == (48, 64)
        assert detector.top_down
        assert detector.model.model.backend == "onnxruntime"
        assert detector.effective_options["intra_op_num_threads"] == "1"
    with pytest.raises(BadInputError, match="closed"):
        detector(IMAGE)


@pytest.mark.parametrize(
    ("boxes", "failure"),
    [
        ([1, 2, 3], "shape"),
        ([[1, 2, 3, 4, 5]], r"boxes\[:, :4\]"),
        ([[1, 2, 3, float("nan")]], "not finite"),
        (["a", "b", "c", "d"], "could not convert"),
        ([[1, 2, 3, 4], [1, 2]], "boxes"),
        (np.zeros((1, 1, 4)), "shape"),
    ],
)
def test_what_are_no_boxes_is_refused(folders: Any, boxes: Any, failure: str) -> None:
    detector = PoseDetector(folders.make("simcc"))
    with pytest.raises(BadInputError, match=failure):
        detector(IMAGE, boxes)


def test_wrong_calls_are_refused(folders: Any) -> None:
    detector = PoseDetector(folders.make("detections"))
    with pytest.raises(BadInputError, match="finds the people itself"):
        detector(IMAGE, [1, 2, 3, 4])
    with pytest.raises(BadInputError, match="one list for each image"):
        detector.batch([IMAGE], [])
    with pytest.raises(BadInputError, match="uint8"):
        detector(IMAGE.astype(np.float32))
    with pytest.raises(BadInputError, match="batch_size"):
        PoseDetector(folders.make("simcc"), batch_size=0)
    with pytest.raises(BadInputError, match="one of cpu, cuda, which onnxruntime runs on"):
        PoseDetector(folders.make("simcc"), "tpu", 1)


def test_a_device_that_is_not_here_is_unavailable(folders: Any) -> None:
    with pytest.raises(UnavailableError, match="no-device: the driver has no cuda"):
        PoseDetector(folders.make("simcc"), "cuda", 1, runtime=Replaced())


MISMATCHES: dict[str, tuple[Any, str]] = {
    "backend": (lambda c: entry(c).update(backend="onnx"), "one of .*onnxruntime"),
    "input name": (lambda c: task(c, 1).update(input_map={"img": "x"}), "input_map"),
    "output name": (lambda c: task(c, 1).update(output_map={"output": "x"}), "output_map"),
    "output position": (lambda c: task(c, 1).update(output_map={"output": "#7"}), "output_map"),
    "input size": (
        lambda c: [
            task(c, 0)["transforms"][i].update(image_size=[64, 64]) for i in (1, 2)
        ] and task(c, 2)["params"].update(input_size=[64, 64]),
        r"shape \['batch', 3, 64, 48\]",
    ),
    "heatmap size": (lambda c: task(c, 2)["params"].update(heatmap_size=[24, 32]), "'output'"),
    "component": (lambda c: task(c, 2).update(component="SimCCLabelDecode", params={}), "simcc_x"),
    "bottom-up component": (
        lambda c: task(c, 2).update(component="RTMODetections", params={}),
        "the top-down transforms",
    ),
    "missing file": (lambda c: entry(c).update(net="other.onnx"), "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISMATCHES)
def test_a_folder_that_does_not_fit_its_graph_is_refused(folders: Any, what: str) -> None:
    change, failure = MISMATCHES[what]
    with pytest.raises(BadInputError, match=failure):
        PoseDetector(folders.make("heatmap", change))(IMAGE)


def test_x_and_y_swapped_are_refused(folders: Any) -> None:
    def swap(content: dict[str, Any]) -> None:
        task(content, 1)["output_map"] = {"simcc_x": "simcc_y", "simcc_y": "simcc_x"}

    with pytest.raises(BadInputError, match=r"'simcc_x': found .*128.*expected .*96"):
        PoseDetector(folders.make("simcc", swap))(IMAGE)


def test_a_file_that_the_backend_refuses(folders: Any) -> None:
    content = folders.json("heatmap")
    for data in (b"no graph", b"", folders.graph("heatmap").SerializeToString()[:100]):
        with pytest.raises(BadInputError, match=r"end2end\.onnx"):
            PoseDetector(folders.write(content, data))


def test_a_graph_that_fails_on_the_input(folders: Any) -> None:
    graph = folders.graph("heatmap")
    bad = onnx.helper.make_node("Reshape", ["output", "shape"], ["reshaped"])
    graph.graph.node.append(bad)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, 7]), "shape"))
    graph.graph.output[0].name = "reshaped"
    content = folders.json("heatmap")
    task(content, 1)["output_map"] = {"output": "reshaped"}
    with pytest.raises(BadInputError, match="onnxruntime fails on input"):
        PoseDetector(folders.write(content, graph))(IMAGE)


def test_weights_outside_the_graph_are_not_read(folders: Any) -> None:
    graph = folders.graph("detections")
    tensor = graph.graph.initializer[0]
    tensor.ClearField("int64_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    with pytest.raises(BadInputError, match=r"weights in other files: \.\./secret"):
        PoseDetector(folders.write(folders.json("detections"), graph))


def test_a_backend_that_is_not_installed(folders: Any) -> None:
    with pytest.raises(UnavailableError, match="pip install onnxruntime"):
        PoseDetector(folders.make("simcc"), runtime=Replaced(missing="onnxruntime"))


def test_a_folder_is_computed_in_its_own_precision_or_not_at_all(folders: Any) -> None:
    folder = folders.make("simcc", lambda content: entry(content).update(precision="BF16"))
    detector = PoseDetector(folder, runtime=Replaced(emulated="fp32"))
    assert detector.model.precision == "bf16"
    with pytest.raises(UnavailableError, match="this CPU would emulate bf16; expected a machine"):
        PoseDetector(folder, runtime=Replaced(emulated="bf16"))


def test_importing_the_sdk_loads_no_training_framework_and_no_backend() -> None:
    code = (
        "import sys, posedeploy.sdk, posedeploy.sdk.validate\n"
        "heavy = {'torch', 'mmpose', 'mmengine', 'mmcv', 'onnx', 'onnxruntime', 'jsonschema'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_program_that_could_touch_files_is_refused_with_what_to_do(folders: Any) -> None:
    pytest.importorskip("torch")
    content = folders.json("heatmap")
    content["deploy.json"]["models"][0].update(net="end2end.pt", backend="torchscript")
    folder = folders.write(content)
    code = 'def forward(self, x):\n  return torch.from_file("x", True, 4)\n'
    with zipfile.ZipFile(folder / "end2end.pt", "w") as archive:
        archive.writestr("end2end/code/__torch__.py", code)
        archive.writestr("end2end/version", "3\n")
    with pytest.raises(BadInputError, match=r"torch\.from_file.*Do not run it"):
        PoseDetector(folder)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_people_have_the_class_of_the_graph(folders: Any, batch: int | str) -> None:
    content = folders.json("detections", dynamic=isinstance(batch, str))
    folder = folders.write(content, folders.graph("detections", batch, columns=6))
    one, other = people([0, 0, 9, 9, 5, 2], [0, 0, 9, 9, 4, 1]), people([0, 0, 9, 9, 5, 1])
    nobody = np.zeros((64, 64, 3), np.uint8)
    detector = PoseDetector(folder)
    labels = [poses.labels for poses in detector.detect_batch([one, nobody, other])]
    assert [found.tolist() for found in labels if found is not None] == [[2, 1], [], [1]]
    assert detector(one).shape == (2, 3, 3)  # MMDeploy's shape has no class


def test_people_of_one_class_have_no_labels(folders: Any) -> None:
    found = PoseDetector(folders.make("detections")).detect(people([0, 0, 9, 9, 5]))
    assert len(found.keypoints) == 1
    assert found.labels is None
    assert PoseDetector(folders.make("heatmap")).detect(IMAGE).labels is None
