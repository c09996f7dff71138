"""Planted defects: the check that is named in the table must be the first that fails.

Each defect is planted in good evidence, and the checks run on that, in their order and unchanged.
Changes below the limit of detection are planted too, and their error is measured.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from poseconform.checks.table import CHECKS
from poseconform.judge.judge import Judge
from poseconform.planted.defects import WHERE, Defect, Site, first_failure
from poseconform.planted.score import PROPERTY, Trial
from suites.defects.table import DEFECTS, LIMITS, Limit
from suites.defects.trials import families, good_sites, marks, trials
from suites.defects.variants import GoodCell, TryIt


@pytest.mark.parametrize(("site", "model"), good_sites((*DEFECTS, *LIMITS)))
def test_defects_are_planted_in_good_cells(
    site: Site, model: str, judge: Judge, good_cell: GoodCell
) -> None:
    assert first_failure(judge, good_cell(site, model)) is None


@pytest.mark.parametrize(("defect", "model"), trials(DEFECTS))
def test_the_named_check_catches_it(defect: Defect, model: str, try_it: TryIt) -> None:
    try_it(defect, model)


@pytest.mark.parametrize(
    "limit", [pytest.param(row, id=row.name, marks=marks(row.site)) for row in LIMITS]
)
def test_what_lies_under_the_limit_of_detection_does_so(
    limit: Limit,
    judge: Judge,
    good_cell: GoodCell,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """A change that a check detects after all belongs into the table of defects."""
    (model,) = limit.site.models
    cell = good_cell(limit.site, model)
    changed = limit.plant(judge, cell, tmp_path)
    own, outputs = (CHECKS["tensors"](j, cell).outputs for j in (judge, changed))
    ratio = max(o.headroom for o in outputs if o.headroom is not None)
    trial = Trial(limit.name, cell=cell.id, ratio=ratio)
    request.node.user_properties.append((PROPERTY, trial.to_text()))
    assert first_failure(changed, cell) is None
    assert [o.max_abs for o in outputs] != [o.max_abs for o in own], "nothing was planted"


@pytest.mark.fp32
@pytest.mark.onnxruntime
def test_every_row_says_what_it_is() -> None:
    names = [defect.name for defect in DEFECTS]
    assert len(set(names)) == len(names) >= 40
    assert {d.caught_by for d in DEFECTS} <= set(CHECKS)
    assert {d.where for d in DEFECTS} == set(WHERE)
    assert all(d.simulates for d in DEFECTS)


@pytest.mark.fp32
@pytest.mark.onnxruntime
def test_every_family_has_defects_planted_in_it() -> None:
    from posedeploy.zoo.table import MODELS

    assert {*families(DEFECTS)} == {row.family for row in MODELS}
