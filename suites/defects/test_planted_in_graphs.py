"""Defects of graphs and weights: the named check must be the first that fails."""

from __future__ import annotations

import pytest

from poseconform.judge.judge import Judge
from poseconform.planted.defects import Defect, Site, first_failure
from suites.defects.table_graph import GRAPH, WEIGHTS
from suites.defects.trials import good_sites, trials
from suites.defects.variants import GoodCell, TryIt

DEFECTS = (*WEIGHTS, *GRAPH)


@pytest.mark.parametrize(("site", "model"), good_sites(DEFECTS))
def test_what_defects_are_planted_in_is_good(
    site: Site, model: str, judge: Judge, good_cell: GoodCell
) -> None:
    assert first_failure(judge, good_cell(site, model)) is None


@pytest.mark.parametrize(("defect", "model"), trials(DEFECTS))
def test_the_named_check_catches_it(defect: Defect, model: str, try_it: TryIt) -> None:
    try_it(defect, model)
