"""Half precision on stressed weights: a norm that leaves float16's range is caught and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fixtures.tiny_judge import TinyJudge
from poseconform.checks.numeric import finite
from poseconform.checks.stressed import LEVELS, judge_stressed, stressed
from poseconform.judge.stressing import Stressed, stressed_weights

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


@pytest.mark.parametrize("subject", ["ACCUMULATED", "IN_HALF"])
def test_a_norm_that_leaves_the_range_is_caught_and_named(
    tiny_judge: TinyJudge, subject: str
) -> None:
    cell = tiny_judge.cell(NAME)
    bad = tiny_judge.judge.with_subject(cell, f"suites.defects.norms:{subject}")
    verdict = stressed(bad, cell)
    assert [failure.split(":")[0] for failure in verdict.failures] == [
        f"|x| up to {record.norm_input:,.0f} in front of ScaleNorm ({NORM})"
        for record in verdict.stressed
    ]
    assert len(verdict.failures) == len(LEVELS)


def test_a_conversion_that_fails_on_them_is_a_failure_of_the_check(
    tiny_judge: TinyJudge, tmp_path: Path
) -> None:
    cell, gone = tiny_judge.cell(NAME), tmp_path / "gone.pth"
    record = judge_stressed(tiny_judge.judge, cell, Stressed(gone, NORM, 274.0), (finite,))
    assert record.failure.startswith("export: ")
    assert record.headroom is None
