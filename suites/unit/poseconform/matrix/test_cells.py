"""Which cells there are, and that the tables leave no family or flow without one."""

from __future__ import annotations

import pytest

from poseconform.compare.tolerances import tolerance_for
from poseconform.matrix.cells import Cell, Flow, Model, build_cells, mark_name
from poseconform.subject.posedeploy_subject import PosedeploySubject

SUBJECT = PosedeploySubject()
MODEL = Model("m", "RTMPose", ("quick",), "simcc", (256, 192), "m.py")


def flow(head: str = "simcc", shape: tuple[int, int] | None = None) -> Flow:
    name = f"pose-detection_{head}_onnxruntime_static"
    return Flow(name, head, "onnxruntime", "fp32", "static", shape)


@pytest.mark.parametrize(
    ("candidate", "fits"),
    [
        (flow(), True),
        (flow(shape=(256, 192)), True),
        (flow(shape=(192, 256)), False),
        (flow(head="rtmo"), False),
    ],
)
def test_a_flow_fits_by_head_kind_and_shape(candidate: Flow, fits: bool) -> None:
    assert candidate.fits(MODEL) is fits
    assert len(build_cells([MODEL], [candidate])) == int(fits)


def test_a_cell_carries_its_markers() -> None:
    cell = Cell(MODEL, flow())
    assert cell.id == "m-simcc_onnxruntime_static"
    assert cell.marks == ("onnxruntime", "fp32", "static", "rtmpose", "quick")
    assert mark_name("YOLOX-Pose") == "yolox_pose"


@pytest.mark.parametrize("tier", ["quick", "default", "reference", "all"])
def test_every_family_has_static_and_dynamic_fp32_on_onnxruntime(tier: str) -> None:
    models = SUBJECT.models([tier])
    cells = build_cells(models, SUBJECT.flows())
    found = {
        (c.model.family, c.flow.shape_mode)
        for c in cells
        if c.flow.backend == "onnxruntime" and c.flow.precision == "fp32"
    }
    families = {model.family for model in models}
    assert families <= set(SUBJECT.families())
    assert found == {(f, m) for f in families for m in ("static", "dynamic")}


def test_every_deploy_config_that_has_no_shape_of_its_own_has_a_model() -> None:
    models = SUBJECT.models(["all"])
    orphans = [f.label for f in SUBJECT.flows() if not any(f.fits(m) for m in models)]
    assert orphans == []


def test_every_flow_has_a_tolerance() -> None:
    for flow in SUBJECT.flows():
        assert tolerance_for(flow.backend, flow.precision).precision == flow.precision
