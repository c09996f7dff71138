"""The report shows accuracy lost in points next to the tensor error."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from poseconform.report.page.payload import facts_of
from poseconform.report.text.strings import points
from poseconform.report.text.terminal import print_summary
from poseconform.results.records import AccuracyRecord, CellRecord, DatasetRecord, LayersRecord
from poseconform.results.results import Results

ACCURACY = AccuracyRecord(100, 2.611, 10.97, 26.1, 0.9879, 0.8982, 0.9435, 4.53)
CELL = CellRecord(
    model="m", family="RTMPose", backend="onnxruntime", precision="int8", shape_mode="static",
    deploy_config="c", outcome="pass", weights="fitted", headroom=0.5, accuracy=ACCURACY,
    layers=LayersRecord(38, 43, 15.44, 31.1, "conv_39", 12.0),
)  # fmt: skip


@pytest.mark.parametrize(("value", "text"), [
    (4.53, "lost 4.5 pt"), (0.0, "lost 0.0 pt"), (-0.04, "lost 0.0 pt"), (-0.8, "gained 0.8 pt"),
    (None, ""), (float("nan"), "lost NaN pt"),
])  # fmt: skip
def test_points_are_lost_or_gained(value: float | None, text: str) -> None:
    assert points(value) == text


def test_a_cell_says_its_weights_and_what_they_lost() -> None:
    facts = dict(facts_of(CELL))
    assert facts["weights"] == "fitted"
    assert facts["accuracy"] == "lost 4.5 pt on 100 figures"
    assert facts["moved on figures"] == "2.61 / 10.97 / 26.10 px (mean / p99 / max), OKS 0.9879"
    assert facts["quantized layers"] == "38 of 43"
    assert facts["worst layer"] == "conv_39: 15.4 dB (at least 12 dB)"


def test_a_refusal_says_why() -> None:
    refused = AccuracyRecord(code="fp32-accuracy-too-low", reason="it finds 12 %")
    facts = dict(facts_of(replace(CELL, accuracy=refused, layers=LayersRecord(0, 43))))
    assert facts["accuracy"] == "not judged, fp32-accuracy-too-low: it finds 12 %"
    assert "moved on figures" not in facts
    assert "worst layer" not in facts


def test_fp32_cells_say_nothing_of_it() -> None:
    assert "accuracy" not in dict(facts_of(replace(CELL, accuracy=None, layers=None)))


def test_a_data_set_has_its_three_measures() -> None:
    dataset = DatasetRecord("coco", 50, 0.7, 0.71, 0.75, 0.752, 0.9, 0.91)
    facts = dict(facts_of(replace(CELL, dataset=dataset)))
    assert facts["data set"] == "50 images of coco"
    assert facts["AP on it"] == "0.7 (PyTorch 0.71)"
    assert facts["PCK on it"] == "0.9 (PyTorch 0.91)"


def test_the_terminal_shows_points_under_the_tensor_error() -> None:
    out = io.StringIO()
    print_summary(Results(environment={}, cells=(CELL,)), Console(file=out, width=100))
    text = out.getvalue()
    assert text.index("h 0.50") < text.index("lost 4.5 pt")
