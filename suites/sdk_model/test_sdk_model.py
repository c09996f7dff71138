"""The SDK model folder says what is true of its files, and finds mmpose's keypoints."""

from __future__ import annotations

import json

import pytest
from poseconform.judgement_client import judge_client
from poseconform.matrix import Cell
from poseconform.recording import Notes
from poseconform.session import Judge
from poseconform.tolerance import tolerance_for

CLIENT_SAMPLES = 3


@pytest.mark.stage("sdk")
def test_deploy_json_describes_the_files(cell: Cell, judge: Judge) -> None:
    folder = judge.conversion(cell).folder
    loaded = judge.execution(cell).loaded
    model = json.loads((folder / "deploy.json").read_text())["models"][0]
    pipeline = json.loads((folder / "pipeline.json").read_text())["pipeline"]
    net = next(t for t in pipeline["tasks"] if t["module"] == "Net")
    assert model["backend"] == cell.flow.backend
    assert model["precision"] == cell.flow.precision.upper()
    assert model["dynamic_shape"] == isinstance(loaded.inputs[0].shape[0], str)
    assert model["name"] == net["name"], "a client that cannot match the names crashes"
    for name in filter(None, (model["net"], model["weights"])):
        assert (folder / name).is_file(), name
    target = net["input_map"]["img"]
    assert target in {"#0", loaded.inputs[0].name}


@pytest.mark.stage("sdk")
def test_pre_processing_has_the_shape_of_the_graph(cell: Cell, judge: Judge) -> None:
    folder = judge.conversion(cell).folder
    pipeline = json.loads((folder / "pipeline.json").read_text())["pipeline"]
    steps = {t["type"]: t for t in pipeline["tasks"][0]["transforms"]}
    resize = steps["BottomupResize" if cell.model.bottom_up else "TopDownAffine"]
    size = resize["input_size" if cell.model.bottom_up else "image_size"]
    shape = judge.execution(cell).loaded.inputs[0].shape
    assert (size[1], size[0]) == tuple(shape[2:])


@pytest.mark.stage("sdk")
def test_client_finds_the_keypoints_that_mmpose_finds(
    cell: Cell, judge: Judge, record: Notes
) -> None:
    row = tolerance_for(cell.flow.backend, cell.flow.precision)
    assert row is not None
    answers = judge.client_answers(cell, CLIENT_SAMPLES)
    reference = judge.reference(cell.model, cell.flow.precision)
    verdict = judge_client(answers, reference, row)
    record(sdk_client_error_px=verdict.pixels)
    assert not verdict.complaints, "; ".join(verdict.complaints)
