"""Rows of the tables as parameters of tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from fixtures.grouping_configs import GROUPING_ROWS
from poseconform.matrix.cells import mark_name
from poseconform.planted.defects import Defect, Site
from suites.defects.table import Limit
from suites.defects.variants import VARIANTS


def marks(site: Site, missed: str = "") -> list[pytest.MarkDecorator]:
    """Those of the flow, and a strict xfail for what no check catches."""
    names = (site.backend, site.precision, site.shape_mode)
    found = [getattr(pytest.mark, mark_name(name)) for name in names]
    return [*found, pytest.mark.xfail(reason=missed, strict=True)] if missed else found


def trials(defects: Iterable[Defect]) -> list[Any]:
    """(defect, model) for every model that a defect is planted in."""
    return [
        pytest.param(
            defect, model, id=f"{defect.name} in {model}",
            marks=marks(defect.site, defect.missed),
        )
        for defect in defects
        for model in defect.site.models
    ]  # fmt: skip


def good_sites(rows: Iterable[Defect | Limit]) -> list[Any]:
    """(site, model) of every cell that something is planted in, once each."""
    found = {
        (model, site.backend, site.precision, site.shape_mode, *_ends(site)): site
        for site in (row.site for row in rows)
        for model in site.models
    }
    return [
        pytest.param(site, key[0], id=" ".join(key), marks=marks(site))
        for key, site in found.items()
    ]


def _ends(site: Site) -> tuple[str, ...]:
    return ("keypoints",) if site.keypoints else ()


def families(defects: Iterable[Defect]) -> Iterator[str]:
    """Families of the zoo that a defect is planted in; a variant is of its model's."""
    from posedeploy.zoo.table import MODELS

    known = {row.name: row.family for row in MODELS}
    known |= {name: known[base] for name, (base, _) in VARIANTS.items()}
    known |= {word: known[row] for word, row in GROUPING_ROWS.items()}
    for defect in defects:
        yield from (known[model] for model in defect.site.models if model in known)
