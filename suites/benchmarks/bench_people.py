"""Detector and pose model together, beside rtmlib and the bare sessions: part of `tox -e bench`.

Four people, yoloxpose_tiny's network as the detector and rtmpose_s, the same ONNX files and one
thread a session for all. The detector's boxes are given ones, so that there are four in every
frame: to its graph, which runs as it is, an addition has been made that outputs them. All take
turns, a process each, so a busy machine is busy for all of them, and the median of the turns'
ratios counts; the control is `posedeploy` in a second process:

- an image: boxes and poses, in images a second of CPU time, for one thread does it all;
- a video of 1280x720 px, in frames a second of wall time: `posedeploy infer` decodes, draws and
  writes, on its threads; rtmlib does in the loop of its README; the sessions run on tensors of
  the same shapes and do nothing else.

Writes `reports/bench/people.json`; the exit status is 1 if a ratio of frames a second is below its
budget. rtmlib is left out, and named, where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fixtures.detector_folders import in_input_px, rtmdet_transforms, write_folder
from posedeploy.cli.profile.ratios import Ratio, paired_ratio
from posedeploy.sdk import PersonDetector, PoseDetector
from posedeploy.sdk.images import Image
from posedeploy.synthetic.figures import draw_figure
from suites.benchmarks.tables import Result, publish, shown
from suites.benchmarks.turns import CONTROL, FLOOR, OURS, clients, installed, not_installed, rounds

DETECTOR, POSE = "yoloxpose_tiny", "rtmpose_s"
CONFIGS = {
    DETECTOR: "pose-detection_yolox-pose_onnxruntime_dynamic",
    POSE: "pose-detection_simcc_onnxruntime_dynamic",
}
DETECTOR_SIZE, POSE_SIZE = (416, 416), (192, 256)  # width and height, px
SIZE, FRAMES, CALLS = (1280, 720), 300, 20
BOXES = [[80 + 290 * i, 60.0, 330 + 290 * i, 680.0] for i in range(4)]
# Frames a second of ours over theirs: no fewer than rtmlib, and .85 of the bare sessions'.
BUDGETS = {"rtmlib": 1.0, FLOOR: 0.85}
SECONDS = 600.0
IMAGE, VIDEO = "image", "video"
WALL, CPU = 0, 1  # what of a turn counts
COUNTS = {IMAGE: CPU, VIDEO: WALL}

Call = Callable[[], int]  # what is timed; the number of images it took


def _ours(folder: Path, work: Path) -> dict[str, Call]:
    from posedeploy.cli.infer.inference import Inference
    from posedeploy.cli.infer.people import PeopleFinder
    from posedeploy.cli.infer.sources import Source
    from posedeploy.cli.terminal import items_progress

    detector, pose = PersonDetector(folder / DETECTOR), PoseDetector(folder / POSE)
    image, video = _read(folder / "people.png"), folder / "people.avi"
    finder = PeopleFinder(pose, lambda _source, img, _frame: detector.detect(img))
    inference = Inference(pose.read, finder, pose.dataset_meta, [], work)

    def one() -> int:
        people = pose.detect(image, detector.detect(image).boxes)
        assert len(people.keypoints) == len(BOXES)
        return 1

    def film() -> int:
        source = Source(video, is_video=True, alone=True)
        assert inference.run(source, "drawn.mp4", items_progress(as_json=True))
        return _frames(video)

    return {IMAGE: one, VIDEO: film}


def _rtmlib(folder: Path, work: Path) -> dict[str, Call]:
    import onnxruntime

    module: Any = importlib.import_module("rtmlib")
    sides = {DETECTOR: DETECTOR_SIZE, POSE: POSE_SIZE}
    kinds = {DETECTOR: module.YOLOX, POSE: module.RTMPose}
    models = {}
    options = onnxruntime.SessionOptions()  # it has no option for threads
    options.intra_op_num_threads = 1
    for name, kind in kinds.items():
        graph = str(folder / name / "end2end.onnx")
        models[name] = kind(graph, model_input_size=sides[name], backend="onnxruntime")
        models[name].session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
    image, video = _read(folder / "people.png"), folder / "people.avi"

    def people(frame: Image) -> Any:
        return models[POSE](frame, bboxes=models[DETECTOR](frame))

    def one() -> int:
        assert len(people(image)[0]) == len(BOXES)
        return 1

    def film() -> int:
        capture, count = cv2.VideoCapture(str(video)), 0
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(work / "drawn.mp4"), fourcc, 25.0, SIZE)
        while (read := capture.read())[0]:
            keypoints, scores = people(read[1])  # type: ignore[arg-type]
            writer.write(module.draw_skeleton(read[1].copy(), keypoints, scores, kpt_thr=0.3))
            count += 1
        writer.release()
        return count

    return {IMAGE: one, VIDEO: film}


def _sessions(folder: Path, work: Path) -> dict[str, Call]:
    del work
    runs = []
    for model, count in ((PersonDetector(folder / DETECTOR)._finder, 1),
                         (PoseDetector(folder / POSE), len(BOXES))):  # fmt: skip
        width, height = model.input_size
        tensor = np.zeros((count, 3, height, width), np.float32)
        runs.append((model._open(), {model._binding.input: tensor}))

    def both() -> int:
        for session, inputs in runs:
            session.run(inputs)
        return 1

    frames = _frames(folder / "people.avi")
    return {IMAGE: both, VIDEO: lambda: sum(both() for _ in range(frames))}


CLIENTS = {OURS: _ours, CONTROL: _ours, "rtmlib": _rtmlib, FLOOR: _sessions}
_ready: dict[str, Call] = {}


def start(client: str, folder: str, work: str) -> None:
    """In the child: load the models and warm up."""
    Path(work).mkdir()
    _ready.update(CLIENTS[client](Path(folder), Path(work)))
    for _ in range(3):
        _ready[IMAGE]()


def take_turn(kind: str, times: int) -> tuple[float, float]:
    """In the child: images a second, of wall time and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    images = sum(_ready[kind]() for _ in range(times))
    return images / (time.perf_counter() - wall), images / (time.process_time() - cpu)


def _read(path: Path) -> Image:
    image = cv2.imread(str(path))
    assert image is not None
    return image  # type: ignore[return-value]


def _frames(path: Path) -> int:
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def people_image(seed: int) -> NDArray[np.uint8]:
    """An image of `SIZE` with a figure in each box."""
    canvas = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for index, box in enumerate(BOXES):
        left, top, right, bottom = map(int, box)
        figure = draw_figure(4 * seed + index, (right - left, bottom - top))[0]
        canvas[top:bottom, left:right] = figure
    return canvas


def with_given_boxes(ours: Path, folder: Path) -> None:
    """A detection folder around a YOLOX-Pose graph: it runs, and `BOXES` are its boxes."""
    model = onnx.load(ours / "end2end.onnx")
    graph = model.graph
    rows = np.zeros((1, len(BOXES) + 1, 5), np.float32)
    rows[0, :-1] = np.column_stack([in_input_px(BOXES, SIZE, DETECTOR_SIZE), [0.9] * len(BOXES)])
    for node in graph.node:
        node.output[:] = ["network" if name == "dets" else name for name in node.output]
        node.input[:] = ["network" if name == "dets" else name for name in node.input]
    constants = {"given": rows, "zero": np.zeros((), np.float32),
                 "label": np.zeros((1, len(BOXES) + 1), np.int64)}  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    graph.node.extend([
        helper.make_node("ReduceMax", ["network"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "zero"], ["nothing"]),
        helper.make_node("Add", ["given", "nothing"], ["dets"]),
        helper.make_node("Cast", ["nothing"], ["no_label"], to=onnx.TensorProto.INT64),
        helper.make_node("Add", ["label", "no_label"], ["labels"]),
    ])  # fmt: skip
    del graph.output[:]
    graph.output.extend([
        helper.make_tensor_value_info("dets", onnx.TensorProto.FLOAT, rows.shape),
        helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, rows.shape[:2]),
    ])  # fmt: skip
    normalize = {"type": "Normalize", "to_rgb": False, "mean": [0, 0, 0], "std": [1, 1, 1]}
    write_folder(folder, rtmdet_transforms(DETECTOR_SIZE, normalize), dynamic=False)
    onnx.save(model, folder / "end2end.onnx")


def prepare(folder: Path, frames: int) -> None:
    """Models, the image and the video."""
    from posedeploy.apis.deploying import deploy

    deploy(CONFIGS[POSE], POSE, "calibrated", folder / POSE)
    deploy(CONFIGS[DETECTOR], DETECTOR, "calibrated", folder / "yolox")
    with_given_boxes(folder / "yolox", folder / DETECTOR)
    cv2.imwrite(str(folder / "people.png"), people_image(0))
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(folder / "people.avi"), fourcc, 25.0, SIZE)
    images = [people_image(seed) for seed in range(8)]
    for index in range(frames):
        writer.write(images[index % len(images)])
    writer.release()


Rates = Mapping[str, list[tuple[float, float]]]  # client -> images a second, by turn


def measure(folder: Path, names: Sequence[str], turns: int) -> dict[str, Rates]:
    """Images a second of an image and of the video."""
    module = "suites.benchmarks.bench_people"
    with clients(names, folder) as children:
        for name, child in children.items():
            work = str(folder / f"{name}-drawn")
            child.call(f"{module}:start", name, str(folder), work, timeout=SECONDS)
        return {
            kind: rounds(
                children, f"{module}:take_turn", kind, times, count=turns, timeout=SECONDS
            )
            for kind, times in ((IMAGE, CALLS), (VIDEO, 1))
        }


def _column(turns: Sequence[tuple[float, float]], what: int) -> list[float]:
    return [turn[what] for turn in turns]


def result(found: Mapping[str, Rates], missing: Sequence[str], frames: int) -> Result:
    """The table, and whether the budgets were kept."""
    rows: list[tuple[str, ...]] = []
    ratios: dict[tuple[str, str], Ratio] = {}
    for kind, rates in found.items():
        for name, turns in rates.items():
            if name != OURS:
                pair = (_column(rates[client], COUNTS[kind]) for client in (OURS, name))
                ratios[kind, name] = paired_ratio(*pair)
            each = (statistics.median(_column(turns, what)) for what in (WALL, CPU))
            rows.append((kind, name, *(f"{rate:.1f}" for rate in each),
                         *shown(ratios.get((kind, name)))))  # fmt: skip
    head = ("of", "client", "images/s", "images/CPU s", "posedeploy ÷ it", "95 % interval")
    limits = ", ".join(f"{budget:g} of {name}" for name, budget in BUDGETS.items())
    notes = [
        f"Of an image the ratio is that of images a CPU second. At least {limits}.",
        *filter(None, [not_installed(missing)]),
    ]
    data = {
        "models": [DETECTOR, POSE], "frames": frames, "budgets": BUDGETS, "not_installed": missing,
        "ratios": [{"of": k, "client": n, **asdict(ratio)} for (k, n), ratio in ratios.items()],
    }  # fmt: skip
    within = all(ratio.median >= BUDGETS.get(name, 0) for (_, name), ratio in ratios.items())
    return Result("people", head, rows, notes, data, within)


def main() -> int:
    """Measure, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    names, missing = installed(list(CLIENTS))
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), arguments.frames)
        found = measure(Path(scratch), names, arguments.turns)
    return publish(result(found, missing, arguments.frames), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
