"""Accuracy and quantization noise: what the judge measures on labeled images, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from poseconform.datasets.labeled import DataSet, LabeledImage
from poseconform.datasets.scoring import People, Score, no_people, read_people, score
from poseconform.isolation.artifacts import content_key
from poseconform.judge.judge import Judge, backend_files
from poseconform.judge.runs import plan_batches
from poseconform.judge.stages import StageFailure, failing_at
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.matrix.weights import LOCATING
from poseconform.reference.values import (
    RUNS_OF,
    FigureReference,
    FigureRounding,
    read_figures,
    read_rounding,
    sample_of,
)
from poseconform.subject import clients
from posedeploy.runtime import BACKENDS
from posedeploy.runtime.quantized.noise import Quantized

# Backend -> what measures the quantized layers of its files.
MEASURES: Mapping[str, str] = {row.name: row.measure for row in BACKENDS if row.measure}
LAYER_IMAGES = 6  # figures that layers are measured on: thousands of values of each
ROUNDED = 16  # figures on which PyTorch's own rounding is measured: 272 keypoints
FIGURES = 100  # of a measurement: 1700 keypoints, so the 99th percentile is the 17th worst


def float_cell(cell: Cell, flows: Iterable[Flow]) -> Cell:
    """The float32 cell of the same model, weights, backend and shape mode, or a `StageFailure`."""
    alike = replace(cell.flow, precision="fp32", inference_precision="")
    for flow in flows:
        wanted = replace(
            alike, deploy_config=flow.deploy_config, shape=flow.shape,
            host_suppression=flow.host_suppression, keypoints=flow.keypoints,
        )  # fmt: skip
        if flow == wanted and flow.fits(cell.model):
            return Cell(cell.model, flow)
    message = f"no fp32 flow to compare {cell.flow.label} with; add its deploy config"
    raise StageFailure("numeric", "failed", message)


def layer_noise(judge: Judge, cell: Cell) -> Quantized:
    """Noise of the quantized layers of a cell. Fails at 'numeric'."""

    def measure() -> Quantized:
        exact = float_cell(cell, judge.subject.flows())
        folders = judge.conversion(cell).folder, judge.convert(exact).folder
        files = [backend_files(cell, folder) for folder in folders]
        inputs = _layer_inputs(judge, cell)
        with judge.child(f"{cell.id}-layers", cell) as child, failing_at("numeric"):
            measured: Quantized = child.call(
                MEASURES[cell.flow.backend], *files, inputs,
                timeout=judge.limits.convert.limit(judge.pytorch_seconds(cell.model)),
            )  # fmt: skip
        return measured

    return judge.once(("layers", cell.id), measure)


def _layer_inputs(judge: Judge, cell: Cell) -> NDArray[np.float32]:
    """Figures where the weights find them, as the ranges were measured on figures.

    Weights that find figures saturate on images without them, where noise would prove nothing.
    """
    model, figures = cell.model, list(judge.figures(LAYER_IMAGES))
    if figures and not model.bottom_up:
        return figure_reference(judge, model).inputs[:LAYER_IMAGES]
    if not figures or model.weights not in LOCATING:
        return judge.reference(model, cell.flow.precision).inputs
    inputs: NDArray[np.float32] = judge.in_torch(
        "poseconform.reference.figures:figure_inputs",
        model, judge.checkpoint(model), figures, timeout=judge.limits.reference.limit(),
    )  # fmt: skip
    return inputs


def figure_reference(judge: Judge, model: Model) -> FigureReference:
    """PyTorch's keypoints on the figures, with the cell's weights."""

    def refer() -> FigureReference:
        figures, checkpoint = list(judge.figures(FIGURES)), judge.checkpoint(model)
        parts = judge.reference_parts(model, [sample_of(figure) for figure in figures])
        parts["truth"] = [figure.keypoints.tolist() for figure in figures]
        entry = judge.written_in_torch(
            judge.cache, content_key("figures", parts),
            "poseconform.reference.figures:write_figures", model, checkpoint, figures,
        )  # fmt: skip
        judge.learn(model, entry.facts)
        return read_figures(entry.path)

    return judge.once(("figures", model.name, model.weights), refer)


def figure_rounding(judge: Judge, model: Model, precision: str) -> FigureRounding | None:
    """What PyTorch's own rounding does on the first figures; None without a run of its own."""
    if precision in RUNS_OF:
        return None

    def refer() -> FigureRounding:
        figures, checkpoint = list(judge.figures(ROUNDED)), judge.checkpoint(model)
        parts = judge.reference_parts(model, [sample_of(figure) for figure in figures])
        entry = judge.written_in_torch(
            judge.cache, content_key("rounding", {**parts, "precision": precision}),
            "poseconform.reference.figures:write_rounding", model, checkpoint, precision, figures,
        )  # fmt: skip
        return read_rounding(entry.path)

    rounding: FigureRounding = judge.once(
        ("rounding", model.name, model.weights, precision), refer
    )
    return rounding


def figure_keypoints(judge: Judge, cell: Cell) -> NDArray[np.float64]:
    """Keypoints `[S, K, 2]` of a top-down cell on the figures, input px. Fails at 'keypoints'."""

    def run() -> NDArray[np.float64]:
        files = backend_files(cell, judge.conversion(cell).folder)
        inputs = figure_reference(judge, cell.model).inputs
        plans = plan_batches("static", len(inputs))
        try:
            with judge.running(cell) as child:
                _, batches = judge.run_files(child, cell, files, inputs, plans)
        except StageFailure as failure:
            failure.stage = "keypoints"
            raise
        outputs = {
            name: np.concatenate([batch.outputs[name] for batch in batches])
            for name in batches[0].outputs
        }
        if cell.flow.keypoints:  # the graph has decoded them
            return outputs[cell.flow.keypoints[0]].astype(np.float64)
        return judge.keypoints(cell.model, outputs)

    return judge.once(("figure keypoints", cell.id), run)


def pytorch_people(judge: Judge, model: Model, data: DataSet) -> list[People]:
    """The people that mmpose's own estimator finds, in float32, with the model's weights."""

    def find() -> list[People]:
        parts = judge.reference_parts(model, [])
        entry = judge.cache.get_or_make(
            content_key("dataset", {**parts, "data": data.key, "images": len(data.images)}),
            lambda folder: judge.in_torch(
                "poseconform.reference.figures:write_people",
                model, judge.checkpoint(model), list(data.images), str(folder),
                timeout=judge.limits.client.limit(
                    judge.pytorch_seconds(model), len(data.images)
                ),
            ),
        )  # fmt: skip
        return read_people(entry.path)

    people: list[People] = judge.once(("dataset", model.name, model.weights, data.key), find)
    return people


def pytorch_score(judge: Judge, model: Model, data: DataSet) -> Score:
    """The score of the people that `pytorch_people` finds."""
    return score(data, pytorch_people(judge, model, data), model.bottom_up)


def client_people(judge: Judge, cell: Cell, data: DataSet) -> list[People]:
    """The people that the SDK client finds with the cell's folder. Fails at 'sdk'."""

    def find() -> list[People]:
        folder = judge.conversion(cell).folder
        with judge.child(f"{cell.id}-dataset") as child, failing_at("sdk"):
            people: list[People] = child.call(
                "poseconform.judge.measuring:people_of_client",
                str(folder), list(data.images), cell.model.bottom_up,
                timeout=judge.limit(judge.limits.client, cell, len(data.images)),
            )  # fmt: skip
        return people

    found: list[People] = judge.once(("client people", cell.id, data.key), find)
    return found


def client_score(judge: Judge, cell: Cell, data: DataSet) -> Score:
    """The score of the people that `client_people` finds."""
    return score(data, client_people(judge, cell, data), cell.model.bottom_up)


def people_of_client(folder: str, images: Sequence[LabeledImage], bottom_up: bool) -> list[People]:
    """The people that `posedeploy.sdk` finds, from the folder alone; called by name in a child."""
    results = []
    with clients.detector_of(folder) as detector:
        for labeled in images:
            if not bottom_up and not len(labeled.boxes):
                results.append(no_people())
                continue
            people = detector.detect(labeled.pixels(), None if bottom_up else labeled.boxes)
            keypoints = np.asarray(people.keypoints, np.float64)
            results.append(People(keypoints, np.asarray(people.scores, np.float64)))
    return results
