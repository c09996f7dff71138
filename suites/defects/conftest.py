"""What the tests of planted defects share: good cells, and planting one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell, Flow, Model, build_cells
from poseconform.matrix.weights import AUTO, with_weights
from poseconform.planted.defects import Defect, Site, first_failure
from poseconform.planted.score import PROPERTY, Trial
from poseconform.pytest_plugin.options import selection_of
from suites.defects.table_keypoints import DEPLOY_CONFIGS
from suites.defects.variants import GoodCell, TryIt, model_of


@pytest.fixture(scope="session")
def all_flows(judge: Judge) -> tuple[Flow, ...]:
    return judge.subject.flows(DEPLOY_CONFIGS)


@pytest.fixture(scope="session")
def good_cell(
    judge: Judge,
    all_flows: tuple[Flow, ...],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> GoodCell:
    """`good_cell(site, model)`: the cell, if its backend is available."""
    folder = tmp_path_factory.mktemp("configs")
    required = selection_of(request.config).require
    models: dict[str, Model] = {}

    def find(site: Site, name: str) -> Cell:
        found = judge.availabilities.of(site.backend)
        if not found.ok:
            refuse = pytest.fail if site.backend in required else pytest.skip
            refuse(f"unavailable:{found.code}: {found.reason}")
        computes = judge.availabilities.of(
            site.backend, inference_precision=site.inference_precision
        )
        if not computes.ok:  # of the processor, which no --require can change
            pytest.skip(f"unavailable:{computes.code}: {computes.reason}")
        if name not in models:
            models[name] = model_of(judge.subject, name, folder)
        cells = build_cells([models[name]], all_flows)
        fitting = [cell for cell in cells if site.holds(cell)]
        plain = min(fitting, key=lambda cell: len(cell.flow.label))  # without further options
        return with_weights([plain], AUTO, judge.subject.locating_weights)[0]

    return find


@pytest.fixture
def try_it(
    judge: Judge, good_cell: GoodCell, tmp_path: Path, request: pytest.FixtureRequest
) -> TryIt:
    """`try_it(defect, model)`: plant it; the named check must be the first that fails."""

    def plant(defect: Defect, model: str) -> None:
        cell = good_cell(defect.site, model)
        trial = Trial(defect.name, defect.where, cell.id, defect.caught_by, defect.link)
        request.node.user_properties.append((PROPERTY, trial.to_text()))
        caught = first_failure(defect.plant(judge, cell, tmp_path), cell)
        assert caught is not None, "no check failed"
        assert caught.check == defect.caught_by, (
            f"{caught.check} caught it first: {caught.message}"
        )

    return plant
