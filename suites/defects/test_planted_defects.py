"""Known ways in which a deployment goes wrong, planted on purpose: the named check must fail.

Each defect is planted in good evidence, and the judge's ordinary checks run on that, in their
order and unchanged.  The first that fails must be the one that the row names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poseconform.checks import CHECKS
from poseconform.defect_score import PROPERTY, Trial
from poseconform.defects import WHERE, Defect, Site, first_failure
from poseconform.matrix import mark_name
from poseconform.session import Judge
from suites.defects.table import DEFECTS, LIMITS, Limit
from suites.defects.variants import GoodCell


def marks(site: Site, missed: str = "") -> Iterator[pytest.MarkDecorator]:
    for name in (site.backend, site.precision, site.shape_mode):
        yield getattr(pytest.mark, mark_name(name))
    if missed:
        yield pytest.mark.xfail(reason=missed, strict=True)


def trials() -> Iterator[Any]:
    for defect in DEFECTS:
        for model in defect.site.models:
            yield pytest.param(
                defect, model, id=f"{defect.name} in {model}",
                marks=[*marks(defect.site, defect.missed)],
            )  # fmt: skip


def good_sites() -> Iterator[Any]:
    seen = set()
    for row in (*DEFECTS, *LIMITS):
        for model in row.site.models:
            site = row.site
            key = (model, site.backend, site.precision, site.shape_mode)
            if key not in seen:
                seen.add(key)
                yield pytest.param(site, model, id=" ".join(key), marks=[*marks(site)])


@pytest.mark.parametrize(("site", "model"), [*good_sites()])
def test_what_defects_are_planted_in_is_good(
    site: Site, model: str, judge: Judge, good_cell: GoodCell
) -> None:
    assert first_failure(judge, good_cell(site, model)) is None


@pytest.mark.parametrize(("defect", "model"), [*trials()])
def test_the_named_check_catches_it(
    defect: Defect,
    model: str,
    judge: Judge,
    good_cell: GoodCell,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    cell = good_cell(defect.site, model)
    trial = Trial(defect.name, defect.where, cell.id, defect.caught_by, defect.link)
    request.node.user_properties.append((PROPERTY, trial.to_text()))
    caught = first_failure(defect.plant(judge, cell, tmp_path), cell)
    assert caught is not None, "no check failed"
    assert caught.check == defect.caught_by, f"{caught.check} caught it first: {caught.says}"


@pytest.mark.parametrize(
    "limit", [pytest.param(row, id=row.name, marks=[*marks(row.site)]) for row in LIMITS]
)
def test_what_lies_under_the_detection_limit_does_so(
    limit: Limit,
    judge: Judge,
    good_cell: GoodCell,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """If it can be told after all, its place is in the table of defects."""
    (model,) = limit.site.models
    cell = good_cell(limit.site, model)
    changed = limit.plant(judge, cell, tmp_path)
    outputs = CHECKS["numbers"][1](changed, cell).outputs
    own = CHECKS["numbers"][1](judge, cell).outputs
    ratio = max(o.headroom for o in outputs if o.headroom is not None)
    trial = Trial(limit.name, cell=cell.id, ratio=ratio)
    request.node.user_properties.append((PROPERTY, trial.to_text()))
    assert first_failure(changed, cell) is None
    assert [o.max_abs for o in outputs] != [o.max_abs for o in own], "nothing was planted"


def test_every_row_says_what_it_is() -> None:
    names = [defect.name for defect in DEFECTS]
    assert len(set(names)) == len(names) >= 40
    assert {d.caught_by for d in DEFECTS} <= set(CHECKS)
    assert {d.where for d in DEFECTS} == set(WHERE)
    assert all(d.simulates for d in DEFECTS)


def test_every_family_has_defects_planted_in_it() -> None:
    from posedeploy.zoo import MODELS

    families = {row.name: row.family for row in MODELS}
    planted = {families[m] for d in DEFECTS for m in d.site.models if m in families}
    assert planted == set(families.values())
