"""Graphs and folders as others write them: read, or refused by name."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.checks import Level
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.validate import validate
from posedeploy.synthetic.figures import draw_figure

IMAGE = draw_figure(1, (64, 64))[0]
COMPONENT = "$.pipeline.tasks[2].component"


def mmdeploy_detector(folders: Any, config: str, graph: Any = None) -> Any:
    """A folder of a detector as MMDeploy 1.3.1 writes it, around a graph."""
    content = folders.json("detections")
    content["pipeline.json"]["pipeline"]["tasks"][2]["component"] = "UNKNOWN"
    del content["detail.json"]["posedeploy"]
    content["detail.json"]["codebase"]["config"] = config
    content["detail.json"]["codebase_config"]["post_processing"] = {"keep_top_k": 50}
    return folders.write(content, folders.graph("detections") if graph is None else graph)


@pytest.mark.parametrize(
    ("config", "component"),
    [("configs/body_2d_keypoint/rtmo/body7/rtmo-s_8xb32-600e_body7-640x640.py", "RTMODetections"),
     ("configs/yoloxpose_s_8xb32-300e_coco-640.py", "YOLOXPoseDetections")],
)  # fmt: skip
def test_unknown_of_a_detector_is_decoded_by_its_outputs_with_a_warning(
    folders: Any, caplog: pytest.LogCaptureFixture, config: str, component: str
) -> None:
    folder = mmdeploy_detector(folders, config)
    assert read_folder(folder).component == component
    (finding,) = [f for f in validate(folder) if f.path == COMPONENT]
    assert (finding.level, finding.expected) == (Level.WARNING, repr(component))
    assert not [f for f in validate(folder) if f.level is Level.ERROR]
    with caplog.at_level(logging.WARNING), PoseDetector(folder) as detector:
        expected = PoseDetector(folders.make("detections"))(IMAGE)
        np.testing.assert_array_equal(detector(IMAGE), expected)
    assert component in caplog.text


def test_unknown_of_a_top_down_model_is_refused_and_explained(folders: Any) -> None:
    content = folders.json("heatmap")
    content["pipeline.json"]["pipeline"]["tasks"][2]["component"] = "UNKNOWN"
    folder = folders.write(content, folders.graph("heatmap"))
    with pytest.raises(BadInputError, match="which MMDeploy writes for heads that its client"):
        PoseDetector(folder)


def rows_by_brightness(folders: Any) -> Any:
    """A detector's graph with as many rows as the mean value of the image."""
    model = folders.graph("detections")
    graph, node = model.graph, helper.make_node
    for one in graph.node:
        one.output[:] = [{"dets": "all", "keypoints": "points"}.get(o, o) for o in one.output]
    graph.initializer.append(helper.make_tensor("zero", TensorProto.INT64, [1], [0]))
    graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    graph.node.extend([
        node("ReduceMean", ["input"], ["top"], keepdims=0),
        node("Cast", ["top"], ["whole"], to=TensorProto.INT64),
        node("Reshape", ["whole", "one"], ["rows"]),
        node("Slice", ["all", "zero", "rows", "one"], ["dets"]),
        node("Slice", ["points", "zero", "rows", "one"], ["keypoints"]),
    ])  # fmt: skip
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].ClearField("dim_value")
    return model


def test_rows_may_change_between_calls_and_keep_top_k_is_that_of_the_conversion(
    folders: Any,
) -> None:
    folder = mmdeploy_detector(folders, "rtmo", rows_by_brightness(folders))
    dim, bright = (np.full((64, 64, 3), value, np.uint8) for value in (1, 200))
    with PoseDetector(folder) as detector:
        rows = [detector.outputs(image)["dets"].shape[1] for image in (dim, bright)]
        assert rows == [1, 4]
        assert detector.most_people == 50
        assert [len(found) for found in detector.batch([dim, bright])] == [4, 4]  # the batch's
    (folder / "detail.json").unlink()
    with PoseDetector(folder) as detector:
        assert detector.most_people is None


def opset(version: int) -> Any:
    def change(model: Any) -> None:
        model.opset_import[0].version = version
        model.ir_version = 10 if version > 20 else 8

    return change


def identities(model: Any) -> None:
    """An `Identity` in front of each output, and no names for dynamic dimensions."""
    for node in model.graph.node:
        node.output[:] = [f"{name}_" if name == "output" else name for name in node.output]
    model.graph.node.append(helper.make_node("Identity", ["output_"], ["output"]))
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].ClearField("dim_param")


def half(model: Any) -> None:
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.elem_type = TensorProto.FLOAT16


def batch_of_two(model: Any) -> None:
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 2


# change of the graph -> allowed distance from the unchanged one's keypoints, px
CHANGES: dict[str, tuple[Any, float]] = {
    **{f"opset {version}": (opset(version), 0.0) for version in (11, 13, 19, 21)},
    "a fixed batch": (batch_of_two, 0.0),
    "half precision in and out": (half, 0.1),
    "operators that do nothing, dimensions without names": (identities, 0.0),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_graph_that_breaks_rules_of_our_own_is_run(folders: Any, case: str) -> None:
    change, px = CHANGES[case]
    content, model = folders.json("heatmap"), folders.graph("heatmap")
    if case == "a fixed batch":
        content["deploy.json"]["models"][0]["dynamic_shape"] = False
    del content["detail.json"]["onnx_config"]
    change(model)
    folder = folders.write(content, model)
    assert not [f for f in validate(folder) if f.level is Level.ERROR]
    with PoseDetector(folders.make("heatmap")) as plain, PoseDetector(folder) as detector:
        boxes = [[0, 0, 40, 60], [10, 5, 60, 64], [3, 3, 30, 40]]
        apart: NDArray[Any] = np.abs(plain(IMAGE, boxes) - detector(IMAGE, boxes))[..., :2]
        assert apart.max() <= px


def test_an_input_with_channels_last_is_refused_by_name(folders: Any) -> None:
    model = folders.graph("heatmap")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims[1:], (64, 48, 3), strict=True):
        dim.dim_value = size
    model.graph.node.insert(
        0, helper.make_node("Transpose", ["input"], ["nchw"], perm=[0, 3, 1, 2])
    )
    model.graph.node[1].input[0] = "nchw"
    onnx.checker.check_model(model)
    folder = folders.write(folders.json("heatmap"), model)
    with pytest.raises(BadInputError, match="which is NHWC"):
        PoseDetector(folder)
    assert any("NHWC" in f.found for f in validate(folder) if f.level is Level.ERROR)
