"""Every model converts through every deploy config that fits, to a graph others can read."""

from __future__ import annotations

import onnx
import pytest

from poseconform.conversions import stage_records
from poseconform.matrix import Cell
from poseconform.onnx_facts import OPSETS, graph_facts
from poseconform.outcome import ArtefactRecord
from poseconform.recording import Notes
from poseconform.session import Judge

NEWEST_IR = 9  # the newest that mmdeploy-runtime 1.3.1 reads


@pytest.mark.stage("convert")
def test_converts_to_an_sdk_model(cell: Cell, judge: Judge, record: Notes) -> None:
    conversion = judge.conversion(cell)
    record.stages += stage_records(conversion)
    record(
        artefacts=tuple(
            ArtefactRecord(n, sha, size) for n, (sha, size) in conversion.files.items()
        ),
        checkpoint_sha256=conversion.checkpoint_sha256,
    )
    assert {"deploy.json", "detail.json", "pipeline.json"} <= set(conversion.files)


@pytest.mark.stage("contract")
@pytest.mark.flows(backend="onnxruntime")
def test_graph_can_be_read_by_others(cell: Cell, judge: Judge, record: Notes) -> None:
    path = judge.conversion(cell).folder / "end2end.onnx"
    facts = graph_facts(path)
    record(graph=facts.record)
    onnx.checker.check_model(str(path), full_check=True)
    assert facts.domains == {""}, f"operators of other domains: {facts.domains}"
    assert facts.record.opset in OPSETS, f"opset {facts.record.opset}; expected one of {OPSETS}"
    assert facts.record.ir is not None
    assert facts.record.ir <= NEWEST_IR, f"IR {facts.record.ir} is newer than {NEWEST_IR}"
    assert not facts.external_data, f"weights outside the file: {facts.external_data}"
    unwanted = {"Identity", "Dropout", "BatchNormalization"} & set(facts.record.ops)
    assert unwanted <= {"BatchNormalization"}, f"operators that do nothing: {unwanted}"
    assert not facts.training, f"operators in training mode: {facts.training}"


@pytest.mark.stage("contract")
@pytest.mark.flows(backend="onnxruntime")
def test_batch_is_the_only_dynamic_dimension_and_is_called_so(cell: Cell, judge: Judge) -> None:
    facts = graph_facts(judge.conversion(cell).folder / "end2end.onnx")
    expected = {"batch"} if cell.flow.shape_mode == "dynamic" else set()
    for name, shape in {**facts.inputs, **facts.outputs}.items():
        assert shape, f"{name} has no shape"
        assert {d for d in shape if isinstance(d, str)} == expected, f"{name} has shape {shape}"
        assert shape[0] == ("batch" if expected else 1), f"{name} has shape {shape}"
