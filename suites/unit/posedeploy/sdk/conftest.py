"""SDK model folders for tests: small graphs whose answers are known, and the three JSON files.

The fixtures hand out functions, so that hypothesis may call them as often as it likes.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from posedeploy.sdk.checksums import checksums

SIZE = (48, 64)  # width, height of the top-down graphs' input, px
SQUARE = 64  # side of the bottom-up graph's input, px
PEOPLE, KEYPOINTS = 4, 3


def _model(
    nodes: list[Any], inputs: Any, outputs: list[Any], constants: list[Any], opset: int, ir: int
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", [inputs], outputs, initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir
    return model


def _floats(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _ints(name: str, *values: int) -> Any:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], list(values))


def tiny_graph(
    kind: str,
    batch: int | str = "batch",
    *,
    input_name: str = "input",
    opset: int = 17,
    ir: int = 8,
    columns: int = 5,
) -> onnx.ModelProto:
    """A graph whose outputs are parts of its input, so that an image dictates the answer.

    heatmap: `output [N, 3, 16, 12]`, the input averaged over 4x4 px.
    simcc: `simcc_x [N, 3, 96]` and `simcc_y [N, 3, 128]`, means over columns and rows, twice.
    detections: `dets [N, 4, columns]` from channel 0, `keypoints [N, 4, 3, 3]` from channel 1.
    """
    node = helper.make_node
    width, height = SIZE if kind != "detections" else (SQUARE, SQUARE)
    source = _floats(input_name, batch, 3, height, width)
    if kind == "heatmap":
        pool = node("AveragePool", [input_name], ["output"], kernel_shape=[4, 4], strides=[4, 4])
        outputs = [_floats("output", batch, 3, height // 4, width // 4)]
        return _model([pool], source, outputs, [], opset, ir)
    if kind == "simcc":
        nodes = [
            node("ReduceMean", [input_name], ["x"], axes=[2], keepdims=0),
            node("ReduceMean", [input_name], ["y"], axes=[3], keepdims=0),
            node("Concat", ["x", "x"], ["simcc_x"], axis=2),
            node("Concat", ["y", "y"], ["simcc_y"], axis=2),
        ]
        outputs = [
            _floats("simcc_x", batch, 3, 2 * width),
            _floats("simcc_y", batch, 3, 2 * height),
        ]
        return _model(nodes, source, outputs, [], opset, ir)
    numbers = KEYPOINTS * 3
    constants = [
        _ints("axes", 1, 2, 3),
        _ints("d0", 0, 0, 0), _ints("d1", 1, PEOPLE, columns),
        _ints("ds", -1, PEOPLE, columns),
        _ints("k0", 1, 0, 0), _ints("k1", 2, PEOPLE, numbers),
        _ints("ks", -1, PEOPLE, KEYPOINTS, 3),
    ]  # fmt: skip
    nodes = [
        node("Slice", [input_name, "d0", "d1", "axes"], ["d"]),
        node("Reshape", ["d", "ds"], ["dets"]),
        node("Slice", [input_name, "k0", "k1", "axes"], ["k"]),
        node("Reshape", ["k", "ks"], ["keypoints"]),
    ]
    outputs = [
        _floats("dets", batch, PEOPLE, columns),
        _floats("keypoints", batch, PEOPLE, KEYPOINTS, 3),
    ]
    return _model(nodes, source, outputs, constants, opset, ir)


def _transforms(kind: str) -> list[dict[str, Any]]:
    tail = [
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"], "meta_keys": ["center", "scale"]},
    ]
    if kind == "detections":
        resize = {"type": "BottomupResize", "input_size": [SQUARE, SQUARE], "pad_val": [9, 9, 9]}
        plain = {"type": "Normalize", "mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": False}
        return [{"type": "LoadImageFromFile"}, resize, plain, *tail]
    size = list(SIZE)
    normalize = {
        "type": "Normalize",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "to_rgb": True,
    }
    return [
        {"type": "LoadImageFromFile"},
        {"type": "TopDownGetBboxCenterScale", "padding": 1.25, "image_size": size},
        {"type": "TopDownAffine", "image_size": size},
        normalize,
        *tail,
    ]


PARAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "heatmap": (
        "TopdownHeatmapSimpleHeadDecode",
        {
            "flip_test": False, "shift_heatmap": True, "type": "MSRAHeatmap",
            "input_size": list(SIZE), "heatmap_size": [12, 16], "sigma": 2,
            "post_process": "default",
        },
    ),
    "simcc": (
        "SimCCLabelDecode",
        {
            "flip_test": False, "type": "SimCCLabel", "input_size": list(SIZE),
            "sigma": [4.9, 5.66], "simcc_split_ratio": 2.0, "normalize": False,
            "use_dark": False, "export_postprocess": False,
        },
    ),
    "detections": (
        "RTMODetections",
        {"input_size": [SQUARE, SQUARE], "score_thr": 0.1, "type": "YOLOXPoseAnnotationProcessor"},
    ),
}  # fmt: skip
OUTPUTS = {
    "heatmap": ["output"],
    "simcc": ["simcc_x", "simcc_y"],
    "detections": ["dets", "keypoints"],
}


def folder_json(kind: str, *, dynamic: bool = True) -> dict[str, Any]:
    """The three JSON files of a folder, as MMDeploy writes them plus our section."""
    name = "bottomupposeestimator" if kind == "detections" else "topdownposeestimator"
    component, params = PARAMS[kind]
    tasks = [
        {
            "type": "Task", "module": "Transform", "name": "Preprocess", "input": ["img"],
            "output": ["prep_output"], "transforms": _transforms(kind),
        },
        {
            "name": name, "type": "Task", "module": "Net", "is_batched": dynamic,
            "input": ["prep_output"], "output": ["infer_output"],
            "input_map": {"img": "input"}, "output_map": {},
        },
        {
            "type": "Task", "module": "mmpose", "name": "postprocess", "component": component,
            "params": params, "output": ["post_output"],
            "input": ["prep_output", "infer_output"],
        },
    ]  # fmt: skip
    entry = {
        "name": name, "net": "end2end.onnx", "weights": "", "backend": "onnxruntime",
        "precision": "FP32", "batch_size": 1, "dynamic_shape": dynamic,
    }  # fmt: skip
    meta = {
        "dataset_name": "three", "keypoint_names": ["nose", "left", "right"],
        "skeleton_links": [[0, 1], [0, 2]], "sigmas": [0.1, 0.2, 0.3],
        "keypoint_colors": [[255, 0, 0]] * 3, "skeleton_link_colors": [[0, 0, 255]] * 2,
        "flip_pairs": [[1, 2]],
    }  # fmt: skip
    detail = {
        "version": "1.3.1",
        "codebase": {"task": "PoseDetection", "codebase": "mmpose", "version": "1.3.2"},
        "codebase_config": {"type": "mmpose", "task": "PoseDetection"},
        "onnx_config": {"type": "onnx", "save_file": "end2end.onnx", "opset_version": 17},
        "backend_config": {"type": "onnxruntime"},
        "calib_config": {},
        "posedeploy": {"dataset_meta": meta},
    }
    content = {
        "deploy.json": {
            "version": "1.3.1", "task": "PoseDetector", "models": [entry], "customs": []
        },
        "pipeline.json": {
            "pipeline": {"input": ["img"], "output": ["post_output"], "tasks": tasks}
        },
        "detail.json": detail,
    }  # fmt: skip
    return copy.deepcopy(content)


@dataclass(frozen=True)
class Folders:
    """Makes SDK model folders below one directory."""

    root: Path
    made: list[Path] = field(default_factory=list)

    def json(self, kind: str, *, dynamic: bool = True) -> dict[str, Any]:
        """The JSON files of a folder, to change before `write`."""
        return folder_json(kind, dynamic=dynamic)

    def graph(self, kind: str, batch: int | str = "batch", **how: Any) -> onnx.ModelProto:
        """A graph of this kind."""
        return tiny_graph(kind, batch, **how)

    def write(self, content: dict[str, Any], graph: onnx.ModelProto | bytes | None = None) -> Path:
        """Write a folder; without a graph it has no backend file and no checksums."""
        folder = self.root / f"model_{len(self.made)}"
        self.made.append(folder)
        folder.mkdir()
        if graph is not None:
            data = graph if isinstance(graph, bytes) else graph.SerializeToString()
            (folder / "end2end.onnx").write_bytes(data)
            with contextlib.suppress(KeyError, TypeError):  # a test may have removed the section
                content["detail.json"]["posedeploy"]["files"] = checksums(folder, ["end2end.onnx"])
        for name, value in content.items():
            (folder / name).write_text(json.dumps(value, indent=4), encoding="utf-8")
        return folder

    def make(
        self,
        kind: str,
        change: Callable[[dict[str, Any]], object] | None = None,
        batch: int | str = "batch",
    ) -> Path:
        """A whole folder with its graph, after `change` was applied to its JSON."""
        content = folder_json(kind, dynamic=isinstance(batch, str))
        if change is not None:
            change(content)
        return self.write(content, tiny_graph(kind, batch))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Makes SDK model folders."""
    return Folders(tmp_path_factory.mktemp("sdk_models"))


@pytest.fixture(scope="session")
def _mmpose() -> None:
    """Make mmpose importable: the reference of pre-processing and decoding."""
    pytest.importorskip("torch")  # `tox -e newest` has none
    from posedeploy import compat

    compat.install()
