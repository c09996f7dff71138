"""Half precision on stressed weights: a norm that leaves float16's range is caught and named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.builders import make_flow, make_model
from fixtures.tiny_judge import TinyJudge
from poseconform.checks.numeric import finite
from poseconform.checks.stressed import LEVELS, judge_stressed, stressed
from poseconform.judge.stressing import Stressed, stressed_weights
from poseconform.matrix.cells import Cell
from poseconform.subject.posedeploy_subject import PosedeploySubject

NORM = "head.mlp.0"
# The cells here are fp32, whose limits are the tightest: range alone may make a difference.
NAME = "rtmpose_t"


def test_levels_are_those_of_the_field(tiny_judge: TinyJudge) -> None:
    """Each is reached, by a power of two, and the largest by no more than twice."""
    judge, model = tiny_judge.judge, tiny_judge.cell(NAME).model
    plain = torch.load(model.checkpoint)["state_dict"]
    for level in LEVELS:
        weights = stressed_weights(judge, model, level)
        assert weights.norm == NORM
        assert level <= weights.norm_input < 2 * level
        state = torch.load(weights.checkpoint)["state_dict"]
        ratio = (state["head.final_layer.weight"] / plain["head.final_layer.weight"]).unique()
        assert len(ratio) == 1
        assert np.log2(float(ratio)).is_integer()


def test_a_good_cell_holds_at_every_level(tiny_judge: TinyJudge) -> None:
    verdict = stressed(tiny_judge.judge, tiny_judge.cell(NAME))
    assert verdict.failures == ()
    assert [record.failure for record in verdict.stressed] == ["", ""]
    assert all(record.headroom is not None and record.headroom <= 1 for record in verdict.stressed)


def test_a_norm_that_leaves_the_range_is_caught_and_named(tiny_judge: TinyJudge) -> None:
    cell = tiny_judge.cell(NAME)
    bad = tiny_judge.judge.with_subject(cell, "suites.defects.norms:IN_HALF")
    verdict = stressed(bad, cell)
    assert len(verdict.failures) == len(LEVELS)
    for failure, record in zip(verdict.failures, verdict.stressed, strict=True):
        where = f"|x| up to {record.norm_input:,.0f} in front of ScaleNorm ({NORM}): "
        assert failure.startswith(where)


def test_a_conversion_that_fails_on_them_is_a_failure_of_the_check(
    tiny_judge: TinyJudge, tmp_path: Path
) -> None:
    cell, gone = tiny_judge.cell(NAME), tmp_path / "gone.pth"
    record = judge_stressed(tiny_judge.judge, cell, Stressed(gone, NORM, 274.0), (finite,))
    assert record.failure.startswith("export: ")
    assert record.headroom is None


MODEL = make_model(tiers=(), scale_norm=True)
FLOW = make_flow(backend="ncnn", precision="fp16")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"scale_norm": False}, False),
        ({"checkpoint": "mine.pth"}, False),
        ({"weights": "zoo"}, False),
        ({"precision": "fp32"}, False),
        ({"precision": "bf16", "shape_mode": "dynamic"}, True),
        ({"folder": "sdk"}, False),
        ({"tiers": ("quick",)}, True),
        ({"tiers": ("default",), "precision": "bf16"}, False),
        ({"tiers": ("quick",), "shape_mode": "dynamic"}, False),
        ({"tiers": ("heads",), "shape_mode": "dynamic"}, True),
    ],
)
def test_cells_of_made_weights_in_half_precision_are_stressed(
    changed: dict[str, Any], expected: bool
) -> None:
    """Of models that CI judges, only what no other cell shows."""
    of_flow = {name: value for name, value in changed.items() if hasattr(FLOW, name)}
    of_model = {name: value for name, value in changed.items() if name not in of_flow}
    cell = Cell(replace(MODEL, **of_model), replace(FLOW, **of_flow))
    assert stressed.applies(cell, "cpu") is expected


def test_a_model_with_the_norm_is_known_without_torch() -> None:
    models = PosedeploySubject().models(["rtmpose_t", "rtmw_m", "simcc_mobilenetv2", "hrnet_w32"])
    assert [m.name for m in models if m.scale_norm] == ["rtmpose_t", "rtmw_m"]
