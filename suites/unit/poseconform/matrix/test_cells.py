"""Which cells there are, and that the tables leave no family or flow without one."""

from __future__ import annotations

import pytest

from poseconform.compare.tolerances import tolerance_for
from poseconform.matrix.cells import Cell, Flow, Model, build_cells, mark_name
from poseconform.subject import posedeploy_subject as implementations
from poseconform.subject.availability import Availabilities, disabled_backends
from posedeploy.runtime import Availability, Code

MODEL = Model("m", "RTMPose", ("quick",), "simcc", (256, 192), "m.py")


def flow(variant: str = "simcc", shape: tuple[int, int] | None = None) -> Flow:
    name = f"pose-detection_{variant}_onnxruntime_static"
    return Flow(name, variant, "onnxruntime", "fp32", "static", shape)


@pytest.mark.parametrize(
    ("candidate", "fits"),
    [
        (flow(), True),
        (flow(shape=(256, 192)), True),
        (flow(shape=(192, 256)), False),
        (flow(variant="rtmo"), False),
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


@pytest.mark.parametrize("tier", implementations.all_tiers())
def test_every_family_has_static_and_dynamic_fp32_on_onnxruntime(tier: str) -> None:
    cells = build_cells(implementations.models([tier]), implementations.flows())
    found = {
        (c.model.family, c.flow.shape_mode)
        for c in cells
        if c.flow.backend == "onnxruntime" and c.flow.precision == "fp32"
    }
    assert found == {(f, m) for f in implementations.all_families() for m in ("static", "dynamic")}


def test_every_deploy_config_that_has_no_shape_of_its_own_has_a_model() -> None:
    models = implementations.models(["all"])
    orphans = [f.label for f in implementations.flows() if not any(f.fits(m) for m in models)]
    assert orphans == []


def test_every_fp32_flow_has_a_tolerance() -> None:
    flows = implementations.flows()
    lacking = {f.label for f in flows if f.precision != "int8"
               and tolerance_for(f.backend, f.precision) is None}  # fmt: skip
    assert lacking == set()


def test_the_user_can_switch_a_backend_off_and_it_is_not_probed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("posedeploy.runtime.registry.get_runtime", pytest.fail)
    found = Availabilities(disabled_backends(["onnxruntime"], "ncnn, tensorrt"))
    for name in ("onnxruntime", "ncnn", "tensorrt"):
        assert found.of(name).code is Code.DISABLED_BY_USER


def test_a_backend_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Runtime:
        def probe(self) -> Availability:
            calls.append(1)
            return Availability(Code.NO_DEVICE, "none")

    monkeypatch.setattr("posedeploy.runtime.registry.get_runtime", lambda _: Runtime())
    found = Availabilities()
    assert found.of("tensorrt") is found.of("tensorrt")
    assert calls == [1]
    assert found.known == {"tensorrt": Availability(Code.NO_DEVICE, "none")}
