"""What the judge measures below float32: noise of quantized layers, keypoints on figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from poseconform.datasets.accuracy import FIGURES, AccuracyReference, read_accuracy, why_not
from poseconform.evaluators.quantized.noise import Quantized
from poseconform.isolation.artifacts import content_key
from poseconform.isolation.child import ChildFailure
from poseconform.judge.judge import Judge, backend_files
from poseconform.judge.stages import StageFailure
from poseconform.matrix.cells import Cell, Model

# Backend -> what measures the quantized layers of its files.
MEASURES: Mapping[str, str] = {
    "ncnn": "poseconform.evaluators.quantized.ncnn_param:measure",
    "onnxruntime": "poseconform.evaluators.quantized.onnx_qdq:measure",
    "openvino": "poseconform.evaluators.quantized.openvino_ir:measure",
}
LAYER_IMAGES = 6  # figures that layers are measured on: thousands of values of each


def float_twin(judge: Judge, cell: Cell) -> Cell:
    """The float32 cell of the same model, weights, backend and shape.

    Raises:
        StageFailure: No such flow, at 'numeric'.
    """
    wanted = replace(cell.flow, precision="fp32", deploy_config="", inference_precision="")
    for flow in judge.subject.flows():
        if replace(flow, deploy_config="") == wanted:
            return Cell(cell.model, flow)
    message = f"no fp32 flow to compare {cell.flow.label} with; add its deploy config"
    raise StageFailure("numeric", "failed", message)


def layer_noise(judge: Judge, cell: Cell) -> Quantized:
    """Noise of the quantized layers of a cell. Fails at 'numeric'."""
    return judge.once(("layers", cell.id), lambda: _measure_layers(judge, cell))


def _measure_layers(judge: Judge, cell: Cell) -> Quantized:
    folders = judge.conversion(cell).folder, judge.convert(float_twin(judge, cell)).folder
    files = [backend_files(cell, folder) for folder in folders]
    inputs = _layer_inputs(judge, cell)
    with judge.child(f"{cell.id}-layers") as child:
        try:
            found: Quantized = child.call(
                MEASURES[cell.flow.backend], *files, inputs, timeout=judge.limits.convert
            )
        except ChildFailure as failure:
            raise StageFailure.from_child("numeric", failure) from failure
    return found


def _layer_inputs(judge: Judge, cell: Cell) -> NDArray[np.float32]:
    """Images like those that ranges are measured on: figures, where the weights find them.

    Fitted weights saturate on what has no figures: noise on it would say nothing.
    """
    model, figures = cell.model, list(judge.figures(LAYER_IMAGES))
    if why_not(model, figures) is None:
        return accuracy_reference(judge, model).inputs[:LAYER_IMAGES]
    if not figures or model.weights != "fitted":
        return judge.reference(model, cell.flow.precision).inputs
    inputs: NDArray[np.float32] = judge.in_torch(
        "poseconform.reference.figure_inputs:prepared",
        model.config, judge.checkpoint(model), figures, timeout=judge.limits.reference,
    )  # fmt: skip
    return inputs


def accuracy_reference(judge: Judge, model: Model) -> AccuracyReference:
    """PyTorch's keypoints on the figures, with the cell's weights."""
    key = ("accuracy", model.name, model.weights)
    return judge.once(key, lambda: _refer(judge, model))


def _refer(judge: Judge, model: Model) -> AccuracyReference:
    figures = list(judge.figures(FIGURES))
    parts = judge.reference_parts(model, [figure.sample for figure in figures])
    parts["truth"] = [figure.keypoints.tolist() for figure in figures]
    entry = judge.cache.get_or_make(
        content_key("accuracy", parts),
        lambda folder: judge.in_torch(
            "poseconform.reference.figures:write_accuracy",
            model.config, judge.checkpoint(model), figures, str(folder),
            timeout=judge.limits.reference,
        ),
    )  # fmt: skip
    return read_accuracy(entry.path)


def figure_keypoints(judge: Judge, cell: Cell) -> NDArray[np.float64]:
    """Keypoints `[S, K, 2]` of a top-down cell on the figures, input px. Fails at 'keypoints'."""
    return judge.once(("figures", cell.id), lambda: _run_figures(judge, cell))


def _run_figures(judge: Judge, cell: Cell) -> NDArray[np.float64]:
    files = backend_files(cell, judge.conversion(cell).folder)
    inputs = accuracy_reference(judge, cell.model).inputs
    device = judge.device(cell)
    with judge.child(f"{cell.id}-figures") as child:
        try:
            child.call(
                "poseconform.judge.execution:load",
                cell.flow.backend, files, device, judge.options_of(cell),
                timeout=judge.limits.load,
            )  # fmt: skip
            runs = [
                child.call("poseconform.judge.execution:run", one[None], timeout=judge.limits.run)
                for one in inputs
            ]
        except ChildFailure as failure:
            raise StageFailure.from_child("keypoints", failure) from failure
    names = list(runs[0].outputs)
    return judge.keypoints(
        cell.model, {name: np.concatenate([run.outputs[name] for run in runs]) for name in names}
    )
