"""Any artifact against PyTorch: conversions get their own verdict, faults their stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.apis import ArtifactComparison, compare_artifact, deploy
from posedeploy.precision.fp16 import to_fp16

Models = Callable[[str], TinyModel]
Folders = Callable[[str], Path]
DYNAMIC = {
    "rtmpose_t": "pose-detection_simcc_onnxruntime_dynamic-96x64",
    "rtmpose_t/heatmap": "pose-detection_onnxruntime_dynamic",
    "yoloxpose_tiny/2": "pose-detection_yolox-pose_onnxruntime_dynamic",
}
IMAGE = drawn(3, (120, 90)).image


@pytest.fixture(scope="module")
def converted(
    tiny_model: Models, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Folders with a dynamic batch, whose conversions have found the same keypoints."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("converted") / "sdk"
            tiny = tiny_model(name)
            done = deploy(DYNAMIC[name], tiny.config, tiny.checkpoint, made[name], images=[IMAGE])
            assert done.outcome == "same"
        return made[name]

    return folder


def judged(path: Path, tiny: TinyModel, **options: Any) -> ArtifactComparison:
    return compare_artifact(path, tiny.config, tiny.checkpoint, [IMAGE], **options)


def failed(done: ArtifactComparison) -> list[str]:
    return [stage.stage for stage in done.stages if not stage.passed]


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_folder_a_zip_and_a_bare_file_get_the_verdict_of_the_conversion(
    converted: Folders, tiny_model: Models, tmp_path: Path, name: str
) -> None:
    folder, tiny = converted(name), tiny_model(name)
    bare = tmp_path / "mine.onnx"
    shutil.copy(folder / "end2end.onnx", bare)
    for path in (folder, bare):
        done = judged(path, tiny, draw_into=tmp_path / "drawn")
        assert (done.outcome, failed(done)) == ("same", [])
        assert all(0 <= one.error <= one.allowed < one.size for one in done.numbers.outputs)
        assert {p.name for p in done.drawn} == {"output_onnxruntime.jpg", "output_pytorch.jpg"}
        assert all(p.stat().st_size for p in done.drawn)
    if name == "rtmpose_t":  # other names, other order: by their shapes; a zip as its folder
        rename(bare, {"simcc_x": "b", "simcc_y": "a"})
        zipped = Path(shutil.make_archive(str(tmp_path / "sdk"), "zip", folder.parent))
        assert [judged(path, tiny).outcome for path in (bare, zipped)] == ["same"] * 2


def rename(path: Path, names: dict[str, str]) -> None:
    """Give outputs of a graph other names, and let them come in the order of those."""
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in graph.output:
        output.name = names.get(output.name, output.name)
    ordered = sorted(graph.output, key=lambda output: str(output.name))
    del graph.output[:]
    graph.output.extend(ordered)
    onnx.save(model, path)


def after(output: str, *nodes: tuple[str, list[str]], **constants: Any) -> Callable[[Any], None]:
    """Put operators between an output and what computed it, which is called `good` there."""

    def edit(graph: Any) -> None:
        for node in graph.node:
            node.output[:] = ["good" if name == output else name for name in node.output]
            node.input[:] = ["good" if name == output else name for name in node.input]
        for name, value in constants.items():
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        results = [*(f"step{i}" for i in range(len(nodes) - 1)), output]
        for (kind, reads), result in zip(nodes, results, strict=True):
            graph.node.append(helper.make_node(kind, reads, [result]))

    return edit


def perturbed(graph: Any) -> None:
    largest = max(graph.initializer, key=lambda t: len(t.raw_data))
    values = numpy_helper.to_array(largest) * np.float32(1.01)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))


def swapped(graph: Any) -> None:
    names = {"simcc_x": "simcc_y", "simcc_y": "simcc_x"}
    for node in graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in graph.output:
        output.name = names[output.name]


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "pipeline.json"
        text = json.dumps(json.loads(path.read_text()))
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


@dataclass(frozen=True)
class Fault:
    """What somebody else's folder has wrong, and where it is found."""

    stages: list[str]  # that differ
    words: str  # in the first of them
    graph: Callable[[Any], None] = field(default=lambda _graph: None)
    folder: Callable[[Path], None] = field(default=lambda _folder: None)
    model: str = "rtmpose_t"


def floats(*columns: float) -> Any:
    """A row for `dets [N, M, 6]`."""
    return np.array([[columns]], np.float32)


# ---- modify this table to add a fault --------------------------------------------------------
FAULTS = {
    "a batch that was folded": Fault(
        ["run"], "px from the same image alone",
        after("simcc_x", ("Gather", ["good", "first"]), ("Mul", ["good", "nothing"]),
              ("Add", ["step0", "step1"]), first=np.array([0]), nothing=np.float32(0)),
    ),
    "boxes that reach out of the input": Fault(
        ["numeric"], "boxes reach out of the input, by up to",
        after("dets", ("Sub", ["good", "left"]), left=floats(500, 0, 0, 0, 0, 0)),
        model="yoloxpose_tiny/2",
    ),
    "rows below the threshold": Fault(
        ["numeric"], "below the model's score_thr",
        after("dets", ("Max", ["good", "low"]), low=floats(0, 0, 0, 0, 0.1, 0)),
        model="yoloxpose_tiny/2",
    ),
    "stale weights": Fault(["numeric"], "from float64", perturbed),
    "swapped outputs": Fault(
        ["contract", "numeric"], "'simcc_x' float32 of shape [1, 17, 192]", swapped
    ),
    "the largest of half precision": Fault(
        ["finite"], "not finite", after("simcc_y", ("Div", ["good", "zero"]), zero=np.float32(0)),
    ),
    "another mean": Fault(
        ["contract", "sdk"], "[100.5, 116.28, 103.53]", folder=replaced("123.675", "100.5"),
    ),
    "another ratio of bins to px": Fault(
        ["contract", "sdk"], "simcc_split_ratio: found 4.0",
        folder=replaced('"simcc_split_ratio": 2.0', '"simcc_split_ratio": 4.0'),
    ),
}  # fmt: skip
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_at_its_stage(
    converted: Folders, tiny_model: Models, tmp_path: Path, case: str
) -> None:
    fault, folder = FAULTS[case], tmp_path / "sdk"
    shutil.copytree(converted(fault.model), folder)
    model = onnx.load(folder / "end2end.onnx")
    fault.graph(model.graph)
    onnx.save(model, folder / "end2end.onnx")
    fault.folder(folder)
    (folder / "detail.json").unlink()  # MMDeploy's have no checksums and no facts
    done = judged(folder, tiny_model(fault.model))
    assert (done.outcome, failed(done)) == ("different", fault.stages)
    first = next(stage for stage in done.stages if not stage.passed)
    assert any(fault.words in text for text in first.faults), first


def test_another_file_in_a_folder_is_not_taken_for_the_folders_model(
    converted: Folders, tiny_model: Models, tmp_path: Path
) -> None:
    folder = tmp_path / "sdk"
    shutil.copytree(converted("rtmpose_t"), folder)
    model = onnx.load(folder / "end2end.onnx")
    perturbed(model.graph)
    onnx.save(model, folder / "other.onnx")
    tiny = tiny_model("rtmpose_t")
    own, other = (judged(folder / f"{name}.onnx", tiny) for name in ("end2end", "other"))
    assert (failed(own), own.stages[-1].stage) == ([], "sdk")
    assert (failed(other), other.stages[-1].stage) == (["numeric"], "keypoints")


def test_a_graph_in_half_precision_is_judged_as_such(
    converted: Folders, tiny_model: Models, tmp_path: Path
) -> None:
    path = tmp_path / "half.onnx"
    to_fp16(converted("rtmpose_t") / "end2end.onnx", path, keep_io_types=False)
    ends = onnx.load(path).graph
    types = {end.type.tensor_type.elem_type for end in (*ends.input, *ends.output)}
    assert types == {TensorProto.FLOAT16}
    done = judged(path, tiny_model("rtmpose_t"))
    assert (done.precision, failed(done)) == ("fp16", [])
    wrong = judged(path, tiny_model("rtmpose_t"), precision="fp32")
    assert failed(wrong)[0] == "numeric"
