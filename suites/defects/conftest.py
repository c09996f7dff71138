"""What the tests of planted defects share: good cells, each judged once."""

from __future__ import annotations

import pytest

from poseconform import implementations
from poseconform.defects import Site
from poseconform.matrix import Cell, Flow, Model, build_cells
from poseconform.session import Judge
from suites.defects.variants import GoodCell, model_of


@pytest.fixture(scope="session")
def all_flows() -> tuple[Flow, ...]:
    return implementations.flows()


@pytest.fixture(scope="session")
def good_cell(
    judge: Judge, all_flows: tuple[Flow, ...], tmp_path_factory: pytest.TempPathFactory
) -> GoodCell:
    """`good_cell(site, model)`: the cell, if its backend is available."""
    folder = tmp_path_factory.mktemp("configs")
    models: dict[str, Model] = {}

    def find(site: Site, name: str) -> Cell:
        found = judge.availabilities.of(site.backend)
        if not found.ok:
            pytest.skip(f"unavailable:{found.code}: {found.reason}")
        if name not in models:
            models[name] = model_of(name, folder)
        cells = build_cells([models[name]], all_flows)
        fitting = [cell for cell in cells if site.holds(cell)]
        return min(fitting, key=lambda cell: len(cell.flow.label))  # without further options

    return find
