"""Defects of detectors, sessions and low precisions: the named check must fail first."""

from __future__ import annotations

import pytest

from poseconform.judge.judge import Judge
from poseconform.planted.defects import Defect, Site, first_failure
from suites.defects.table_detections import DETECTIONS
from suites.defects.table_precision import PRECISION
from suites.defects.table_session import SESSION
from suites.defects.trials import good_sites, trials
from suites.defects.variants import GoodCell, TryIt

DEFECTS = (*DETECTIONS, *SESSION, *PRECISION)


@pytest.mark.parametrize(("site", "model"), good_sites(DEFECTS))
def test_what_defects_are_planted_in_is_good(
    site: Site, model: str, judge: Judge, good_cell: GoodCell
) -> None:
    assert first_failure(judge, good_cell(site, model)) is None


@pytest.mark.parametrize(("defect", "model"), trials(DEFECTS))
def test_the_named_check_catches_it(defect: Defect, model: str, try_it: TryIt) -> None:
    try_it(defect, model)
