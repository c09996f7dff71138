"""The judge does everything once, keeps to its stages, and tells the others what blocked them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.builders import make_cell, make_model
from fixtures.fake_subject import FakeSubject
from poseconform.compare.tolerances import NEAR_TIES
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.isolation.child import Child, ChildCrash, ChildFailure, ChildTimeout
from poseconform.isolation.forking import ForkServer
from poseconform.judge.judge import Judge, samples_sha256
from poseconform.judge.limits import DEVICE_IDLE_SECONDS
from poseconform.judge.runs import Loaded, Ran, filled, input_fault, plan_batches
from poseconform.judge.stages import Blocked, StageFailure, Unavailable, stage_records
from poseconform.reference.values import FILE, Sample
from poseconform.subject.clients import ClientAnswer
from poseconform.subject.environment import Availabilities
from poseconform.subject.protocol import Conversion
from poseconform.subject.warping import Warp
from posedeploy.paths import file_sha256
from posedeploy.runtime import SessionOptions, TensorInfo
from posedeploy.runtime.processes import HANG_SECONDS, Limit

CELL = make_cell()
SAMPLES = [
    Sample(f"s{i}", np.full((4, 6, 3), i, np.uint8), (0.0, 0.0, 6.0, 4.0)) for i in range(6)
]
Answer = Callable[..., Any]


class FakeChild(Child):
    """Answers calls from a table; an answer that is an exception is raised."""

    answers: dict[str, Answer]
    calls: list[tuple[str, tuple[Any, ...], Limit]]

    def __init__(
        self, log: Path, env: dict[str, str] | None = None, server: ForkServer | None = None
    ) -> None:
        self.log, self.env, self.server, self.closed = log, env, server, False

    def __enter__(self) -> FakeChild:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    def call(self, target: str, *args: Any, timeout: float | Limit) -> Any:
        assert isinstance(timeout, Limit)
        name = target.rpartition(":")[2]
        self.calls.append((name, args, timeout))
        return self.answers[name](*args)


def write_reference(*args: Any) -> dict[str, object]:
    inputs = np.zeros((6, 3, 64, 48), np.float32)
    maps = np.zeros((6, 2, 8))
    more: dict[str, Any] = {f"image_keypoints:{i}": np.zeros((1, 2, 2)) for i in range(6)}
    more |= {f"image_scores:{i}": np.ones(1) for i in range(6)}
    more |= {f"image_labels:{i}": np.zeros(1, np.int64) for i in range(6)}
    arrays = {"output:simcc_x": maps, "ref_error:simcc_x": np.ones(4)} | more
    np.savez(
        Path(args[-1]) / FILE, inputs=inputs, keypoints=np.zeros((6, 2, 2)),
        scores=np.ones((6, 2)), argmax_gap=np.ones((6, 2)), shift_gap=np.ones((6, 2)), **arrays,
    )  # fmt: skip
    return {"seconds": 1.0, "cpu_seconds_per_image": 5.0}


def loaded(*_args: Any) -> Loaded:
    info = TensorInfo("input", (1, 3, 64, 48), "float32")
    return Loaded((info,), (TensorInfo("simcc_x", (1, 2, 8), "float32"),), {}, 0.1)


@pytest.fixture
def child(tmp_path: Path) -> type[FakeChild]:
    checkpoint = tmp_path / "m.pth"
    checkpoint.write_bytes(b"weights")
    step = {"made": True, "seconds": 2.0}

    def convert(_spec: str, _cell: object, path: str, *_more: str) -> Conversion:
        files = {"deploy.json": ("aa", 3)}
        sha256 = file_sha256(Path(path))
        return Conversion(tmp_path / "sdk", files, step, step | {"made": False}, sha256)

    FakeChild.calls = []
    FakeChild.answers = {
        "checkpoint_for": lambda _spec, _model: str(checkpoint),
        "convert": convert,
        "write_reference": write_reference,
        "load": loaded,
        "run": lambda feed: Ran({"simcc_x": np.zeros((len(feed), 2, 8), np.float32)}, 0.01),
        "time_runs": lambda feed: (0.02,) * 5 * len(feed),
        "decode": lambda _config, outputs: np.zeros((len(outputs["simcc_x"]), 2, 2)),
        "posedeploy_sdk": lambda _f, samples, _b, _d: [
            ClientAnswer(np.zeros((1, 2, 2)), np.ones(1)) for _ in samples
        ],
    }
    return FakeChild


def make_judge(
    cache: ArtifactCache, scratch: Path, samples: Sequence[Sample] = SAMPLES, warp: str = "a"
) -> Judge:
    subject = FakeSubject(on_device=frozenset({"tensorrt"}))
    return Judge(
        cache, samples, Availabilities(subject), scratch,
        subject_spec="a:subject", make_child=FakeChild, config_text=lambda path: f"text of {path}",
        warp=lambda: Warp("5.0.0", warp),
    )  # fmt: skip


@pytest.fixture
def judge(child: type[FakeChild], tmp_path: Path) -> Judge:
    del child
    return make_judge(ArtifactCache(tmp_path / "cache"), tmp_path / "scratch")


def names(child: type[FakeChild]) -> list[str]:
    return [name for name, _, _ in child.calls]


def failing(child: type[FakeChild], name: str, error: Exception) -> None:
    def fail(*_args: Any) -> None:
        raise error

    child.answers[name] = fail


def test_a_conversion_is_asked_for_once(judge: Judge, child: type[FakeChild]) -> None:
    first = judge.conversion(CELL)
    assert judge.conversion(CELL) is first
    assert names(child) == ["checkpoint_for", "convert"]
    assert first.files == {"deploy.json": ("aa", 3)}
    assert len(first.checkpoint_sha256) == 64
    spec, cell, _checkpoint, exporter, root = child.calls[1][1]
    assert (spec, cell, exporter, root) == ("a:subject", CELL, "", str(judge.cache.root))


def test_a_build_on_a_device_may_take_longer(judge: Judge, child: type[FakeChild]) -> None:
    judge.conversion(CELL)
    assert child.calls[-1][2] == judge.limits.convert.limit()
    engine = make_cell(backend="tensorrt")
    judge.conversion(engine)
    assert child.calls[-1][0] == "convert"
    assert child.calls[-1][2] == judge.limits.build.limit()
    assert judge.limits.build.limit().cpu > judge.limits.convert.limit().cpu


def test_limits_grow_with_what_pytorch_took_for_the_model(
    judge: Judge, child: type[FakeChild]
) -> None:
    judge.conversion(CELL)
    assert judge.pytorch_seconds(CELL.model) == 0.0  # not known yet
    judge.execution(CELL)
    assert judge.pytorch_seconds(CELL.model) == 5.0
    limits = {name: limit for name, _, limit in child.calls}
    assert limits["load"] == judge.limits.load.limit(5.0)
    assert limits["run"] == judge.limits.run.limit(5.0)
    judge.execution(make_cell(shape_mode="dynamic"))
    assert [limit.cpu for name, _, limit in child.calls if name == "run"][6:] == [
        judge.limits.run.limit(5.0, images).cpu for images in (1, 2, 5)
    ]
    assert judge.pytorch_seconds(make_model(name="another")) == 0.0


def test_the_judges_own_evaluation_may_take_longer(judge: Judge, child: type[FakeChild]) -> None:
    judge.evaluating(CELL)
    limits = {name: limit for name, _, limit in child.calls}
    assert limits["run"] == judge.limits.evaluate.limit(5.0)
    assert limits["run"].cpu > judge.limits.run.limit(5.0).cpu


def test_a_device_may_be_waited_for_longer(child: type[FakeChild], tmp_path: Path) -> None:
    del child
    judge = make_judge(ArtifactCache(tmp_path / "cache"), tmp_path / "scratch")
    cell = make_cell(backend="tensorrt")
    assert judge.limit(judge.limits.run, cell).idle == DEVICE_IDLE_SECONDS
    assert judge.limit(judge.limits.run, CELL).idle == HANG_SECONDS


def test_stages_of_a_conversion_take_no_time_where_it_was_found(
    judge: Judge,
) -> None:
    export, convert = stage_records(judge.conversion(CELL))
    assert (export.name, export.seconds) == ("export", 2.0)
    assert (convert.name, convert.seconds) == ("convert", 0.0)


def test_the_users_checkpoint_is_taken_as_it_is(judge: Judge, child: type[FakeChild]) -> None:
    assert judge.checkpoint(make_model(checkpoint="/x/y.pth")) == "/x/y.pth"
    assert names(child) == []


def test_each_kind_of_weights_has_its_own_reference(judge: Judge, child: type[FakeChild]) -> None:
    calibrated = make_model(name="zoo", config="zoo.py")
    fitted = replace(calibrated, weights="fitted")
    judge.checkpoint(calibrated)
    judge.checkpoint(fitted)
    assert [args[1].weights for _, args, _ in child.calls] == ["calibrated", "fitted"]
    assert judge.reference(fitted, "fp32") is not judge.reference(calibrated, "fp32")


@pytest.mark.parametrize(
    ("named", "stage"),
    [("", "export"), ("export", "export"), ("model", "export"), ("convert", "convert"),
     ("load", "convert")],
)  # fmt: skip
def test_a_failing_conversion_names_its_stage_and_blocks_the_rest(
    judge: Judge, child: type[FakeChild], named: str, stage: str
) -> None:
    failing(child, "convert", ChildFailure("ValueError: no", "the log", named))
    with pytest.raises(StageFailure) as caught:
        judge.conversion(CELL)
    assert (caught.value.stage, caught.value.kind) == (stage, "failed")
    assert caught.value.log_tail == "the log"
    with pytest.raises(Blocked, match=f"blocked: {stage} failed"):
        judge.execution(CELL)
    assert names(child).count("convert") == 1


def test_a_conversion_that_is_not_to_be_had_here_is_no_failure(
    judge: Judge, child: type[FakeChild]
) -> None:
    failing(child, "convert", ChildFailure("NoTool: no toolchain: x", unavailable="tool-missing"))
    for ask in (judge.conversion, judge.execution):
        with pytest.raises(Unavailable, match=r"^unavailable:tool-missing: no toolchain: x$"):
            ask(CELL)
    assert names(child).count("convert") == 1


def test_a_code_that_there_is_not_is_a_failure(judge: Judge, child: type[FakeChild]) -> None:
    failing(child, "convert", ChildFailure("NoTool: no toolchain", unavailable="busy"))
    with pytest.raises(StageFailure, match="no toolchain"):
        judge.conversion(CELL)


def test_a_reference_is_made_once_a_machine(
    judge: Judge, child: type[FakeChild], tmp_path: Path
) -> None:
    first = judge.reference(CELL.model, "fp32")
    assert judge.reference(CELL.model, "fp32") is first
    other = make_judge(judge.cache, tmp_path / "other")
    np.testing.assert_array_equal(other.reference(CELL.model, "fp32").inputs, first.inputs)
    assert names(child).count("write_reference") == 1
    assert first.facts["seconds"] == 1.0


@pytest.mark.parametrize(
    ("bottom_up", "made"), [(False, ["fp32", "fp16"]), (True, ["int8", "fp32", "fp16"])]
)
def test_precisions_whose_reference_is_the_same_share_it(
    judge: Judge, child: type[FakeChild], bottom_up: bool, made: list[str]
) -> None:
    """int8 is compared with float32's rounding; near ties of detections have their own margins."""
    model = replace(CELL.model, bottom_up=bottom_up)
    for precision in ("int8", "fp32", "fp16"):
        judge.reference(model, precision)
    written = [args[2] for name, args, _ in child.calls if name == "write_reference"]
    assert written == made


def test_a_latency_is_of_several_warm_runs(judge: Judge, child: type[FakeChild]) -> None:
    times = iter([9.0, *[0.01] * 5, 9.0, 9.0, 9.0])  # the first run of a session is a cold one
    child.answers["run"] = lambda feed: Ran(
        {"simcc_x": np.zeros((len(feed), 2, 8), np.float32)}, next(times)
    )
    assert judge.execution(CELL).timed == (0.01,) * 5
    assert "time_runs" not in names(child)
    assert judge.execution(make_cell(shape_mode="dynamic")).timed == (0.02,) * 5


@pytest.mark.parametrize("change", ["precision", "samples", "checkpoint", "warp"])
def test_what_a_reference_depends_on_makes_it_anew(
    judge: Judge, child: type[FakeChild], change: str, tmp_path: Path
) -> None:
    judge.reference(CELL.model, "fp32")
    precision = "fp32"
    if change == "precision":
        precision = "fp16"
    elif change == "checkpoint":
        (tmp_path / "m.pth").write_bytes(b"other weights")
    samples = SAMPLES[::-1] if change == "samples" else SAMPLES
    warp = "b" if change == "warp" else "a"  # the cache is shared by environments
    other = make_judge(judge.cache, tmp_path / "other", samples, warp)
    other.reference(CELL.model, precision)
    assert names(child).count("write_reference") == 2


@pytest.mark.parametrize(("bottom_up", "made"), [(True, 2), (False, 1)])
def test_margins_of_near_ties_decide_which_detections_a_reference_holds(
    judge: Judge, child: type[FakeChild], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    bottom_up: bool, made: int,
) -> None:  # fmt: skip
    model = replace(CELL.model, bottom_up=bottom_up)
    judge.reference(model, "fp32")
    monkeypatch.setitem(NEAR_TIES, "fp32", replace(NEAR_TIES["fp32"], match_px=3.0))
    make_judge(judge.cache, tmp_path / "other").reference(model, "fp32")
    assert names(child).count("write_reference") == made


def test_a_reference_that_fails_fails_every_cell_and_is_not_tried_again(
    judge: Judge, child: type[FakeChild]
) -> None:
    failing(child, "write_reference", ChildTimeout("no answer"))
    for _ in range(2):
        with pytest.raises(ChildTimeout, match="no answer"):
            judge.reference(CELL.model, "fp32")
    assert names(child).count("write_reference") == 1


def test_static_flows_run_one_by_one_and_dynamic_ones_in_overlapping_batches(
    judge: Judge, child: type[FakeChild]
) -> None:
    execution = judge.execution(CELL)
    assert [b.samples for b in execution.batches] == [(i,) for i in range(6)]
    judge.execution(make_cell(shape_mode="dynamic"))
    sizes = [len(args[0]) for name, args, _ in child.calls if name == "run"]
    assert sizes[6:] == [1, 2, 5]
    values, index = execution.rows("simcc_x")
    assert values.shape == (6, 2, 8)
    assert index.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ((1, 3, 64, 48), ""),
        (("N", "C", "H", "?"), ""),
        ((), ""),
        ((1, 64, 48, 3), "x: shape [1, 64, 48, 3] (channels last); expected [N, 3, 64, 48]"),
        ((1, 3, 48, 64), "x: shape [1, 3, 48, 64]; expected [N, 3, 64, 48]"),
        ((1, 3, 64), "x: shape [1, 3, 64]; expected [N, 3, 64, 48]"),
        ((4, 3, 64, 48), ""),
    ],
)
def test_a_file_that_cannot_be_given_the_images_says_why(
    shape: tuple[int | str, ...], fault: str
) -> None:
    info = TensorInfo("x", shape, "float32")
    assert input_fault((info,), (3, 64, 48)) == fault
    assert input_fault((info, info), (3, 64, 48)).startswith("inputs ['x', 'x']; expected one")


def test_a_fixed_batch_is_filled_with_the_last_image() -> None:
    feed = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    assert filled(feed, (4, 3, 2, 2))[:, 0, 0, 0].tolist() == [0.0, 12.0, 12.0, 12.0]
    shapes: list[tuple[int | str, ...]] = [(2, 3, 2, 2), (1, 3, 2, 2), ("N", 3, 2, 2), ()]
    for shape in shapes:
        np.testing.assert_array_equal(filled(feed, shape), feed)


def test_batches_of_few_samples_hold_no_more_than_there_are() -> None:
    assert plan_batches("static", 2) == ((0,), (1,))
    assert plan_batches("dynamic", 6) == ((0,), (1, 2), (1, 2, 3, 4, 5))
    assert plan_batches("dynamic", 3) == ((0,), (1, 2), (1, 2))


@pytest.mark.parametrize(
    ("call", "error", "kind", "code"),
    [
        ("load", ChildFailure("RuntimeError: no"), "failed", ""),
        ("load", ChildCrash("SIGSEGV in load", "log"), "crash", "SIGSEGV"),
        ("run", ChildTimeout("hang: no CPU used for 45 s", code="hang"), "timeout", "hang"),
    ],
)
def test_a_backend_that_fails_crashes_or_hangs_names_its_stage(
    judge: Judge, child: type[FakeChild], call: str, error: ChildFailure, kind: str, code: str
) -> None:
    failing(child, call, error)
    with pytest.raises(StageFailure) as caught:
        judge.execution(CELL)
    assert (caught.value.stage, caught.value.kind, caught.value.code) == (call, kind, code)
    with pytest.raises(Blocked) as blocked:
        judge.execution(CELL)
    assert (blocked.value.stage, blocked.value.message) == (call, error.message)
    judge.conversion(CELL)  # what went well stays


def test_keypoints_are_decoded_by_the_models_codec(judge: Judge, child: type[FakeChild]) -> None:
    keypoints = judge.keypoints(CELL.model, {"simcc_x": np.zeros((3, 2, 8))})
    assert keypoints.shape == (3, 2, 2)
    assert child.calls[0][1][0] == "m.py"


def test_a_client_answers_for_the_first_samples(judge: Judge, child: type[FakeChild]) -> None:
    assert len(judge.client_answers(CELL, 3)) == 3
    name, args, timeout = child.calls[-1]
    limit = judge.limits.client.limit(judge.pytorch_seconds(CELL.model), 3)
    assert (name, args[2], timeout) == ("posedeploy_sdk", False, limit)
    failing(child, "posedeploy_sdk", ChildCrash("SIGABRT in it"))
    with pytest.raises(StageFailure, match="crash in sdk: SIGABRT in it"):
        judge.client_answers(CELL, 3)


def made(judge: Judge) -> list[FakeChild]:
    """The children that a judge makes from now on; the last may still run."""
    children: list[FakeChild] = []

    def make(log: Path, env: dict[str, str], server: ForkServer | None = None) -> FakeChild:
        children.append(FakeChild(log, env, server))
        return children[-1]

    judge.make_child = make
    return children


def test_a_run_and_its_client_share_a_child_of_the_cell(judge: Judge, tmp_path: Path) -> None:
    judge.reference(CELL.model, "fp32")
    children, other = made(judge), make_cell(backend="openvino")
    judge.execution(CELL)
    judge.client_answers(CELL, 3)
    assert [(c.log.name, c.closed) for c in children] == [(f"{CELL.id}.log", False)]
    judge.execution(other)
    assert [child.closed for child in children] == [True, False]
    copy = judge.with_conversion(other, replace(judge.conversion(other), folder=tmp_path / "x"))
    copy.execution(other)
    assert [child.closed for child in children] == [True, True, False], "another folder"
    judge.forget(CELL.model)
    assert children[-1].closed
    judge.client_answers(other, 3)
    judge.conversion(make_cell(backend="ncnn"))
    assert children[-1].closed, "a conversion has the memory to itself"
    judge.client_answers(other, 3)
    judge.close()
    assert (len(children), children[-1].closed) == (5, True)


@pytest.mark.parametrize("error", [ChildCrash("SIGSEGV in run"), ChildFailure("RuntimeError: no")])
def test_after_a_fault_or_a_failure_a_cell_has_another_child(
    judge: Judge, child: type[FakeChild], error: ChildFailure
) -> None:
    judge.reference(CELL.model, "fp32")
    children = made(judge)
    failing(child, "run", error)
    with pytest.raises(StageFailure):
        judge.execution(CELL)
    judge.client_answers(CELL, 3)
    assert [child.closed for child in children] == [True, False]


def test_children_are_forked_for_the_cpu_alone(judge: Judge) -> None:
    judge.reference(CELL.model, "fp32")
    children, torch = made(judge), make_cell(backend="torchscript")
    on_gpu = make_cell(backend="tensorrt")
    for cell in (CELL, torch, make_cell(backend="ncnn"), on_gpu):
        judge.execution(cell)
    judge.client_answers(on_gpu, 3)
    first, of_torch, of_ncnn, *of_gpu = (child.server for child in children)
    assert first is of_ncnn is not of_torch is not None
    assert of_gpu == [None, None]
    assert [child.closed for child in children] == [True] * 5, "a GPU's child ends with the block"


def test_another_folder_is_judged_for_one_cell_only(
    judge: Judge, child: type[FakeChild], tmp_path: Path
) -> None:
    good = judge.conversion(CELL)
    judge.execution(CELL)
    other = judge.with_conversion(CELL, replace(good, folder=tmp_path / "broken"))
    assert judge.conversion(CELL).folder == good.folder
    assert other.conversion(CELL).folder == tmp_path / "broken"
    before = names(child).count("load")
    other.execution(CELL)
    assert names(child).count("load") == before + 1
    assert str(tmp_path / "broken") in child.calls[-7][1][1][0]


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_a_graph_without_suppression_is_finished_by_mmposes_head(
    judge: Judge, child: type[FakeChild], mode: str
) -> None:
    cell = make_cell("rtmo")
    cell = replace(cell, flow=replace(cell.flow, shape_mode=mode))
    info = TensorInfo("input", (1, 3, 64, 48), "float32")
    dense = tuple(TensorInfo(n, (1, 9, 4), "float32") for n in ("boxes", "scores", "keypoints"))
    child.answers["load"] = lambda *_: Loaded((info,), dense, {}, 0.1)
    child.answers["run"] = lambda feed: Ran(
        {i.name: np.zeros((len(feed), 9, 4)) for i in dense}, 0.1
    )

    def finish(_model: object, _checkpoint: str, runs: list[Any]) -> list[dict[str, Any]]:
        assert all(len(run["boxes"]) == 1 for run in runs), "the head takes an image at a time"
        return [
            {"dets": np.full((1, 3, 5), i), "keypoints": np.ones((1, 3, 2, 3))}
            for i, _ in enumerate(runs)
        ]

    child.answers["detections"] = finish
    execution = judge.execution(cell)
    assert execution.names == ("dets", "keypoints")
    rows, samples = execution.rows("dets")
    order = [0, 1, 2, 3, 4, 5] if mode == "static" else [0, 1, 2, 1, 2, 3, 4, 5]
    assert rows.shape == (len(order), 3, 5)
    assert samples.tolist() == order
    assert rows[:, 0, 4].tolist() == [*range(len(order))]


def test_the_torch_child_is_shared_and_closed(judge: Judge) -> None:
    judge.close()  # harmless before there is one
    judge.conversion(CELL)
    torch = judge._torch
    assert isinstance(torch, FakeChild)
    judge.reference(CELL.model, "fp32")
    assert judge._torch is torch
    judge.close()
    assert torch.closed


def test_a_hash_of_samples_sees_pixels_boxes_and_names() -> None:
    first = SAMPLES[0]
    changed = [
        replace(first, name="other"),
        replace(first, bbox=(0.0, 0.0, 6.0, 5.0)),
        replace(first, image=first.image + 1),
        replace(first, image=first.image.reshape(6, 4, 3)),
    ]
    hashes = {samples_sha256([sample]) for sample in [first, *changed]}
    assert len(hashes) == 5
    assert samples_sha256(SAMPLES) != samples_sha256(SAMPLES[:5])


def test_another_checkpoint_is_converted_and_judged_by_the_same_reference(
    judge: Judge, child: type[FakeChild], tmp_path: Path
) -> None:
    judge.execution(CELL)
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    changed = judge.with_checkpoint(CELL, other)
    done = len(child.calls)
    assert changed.conversion(CELL).checkpoint_sha256 != judge.conversion(CELL).checkpoint_sha256
    changed.reference(CELL.model, "fp32")
    assert names(child)[done:] == ["convert"]
    assert child.calls[done][1][2] == str(other)


def test_another_checkpoint_is_taken_for_the_users_own_too(
    judge: Judge, child: type[FakeChild], tmp_path: Path
) -> None:
    """Otherwise a planted one is not converted, and the good one passes in its place."""
    files = [tmp_path / name for name in ("mine.pth", "other.pth")]
    for file in files:
        file.write_bytes(file.name.encode())
    mine, other = map(str, files)
    cell = replace(CELL, model=replace(CELL.model, checkpoint=mine))
    judge.conversion(cell)
    judge.with_checkpoint(cell, files[1]).conversion(cell)
    converted = [args[2] for name, args, _ in child.calls if name == "convert"]
    assert converted == [mine, other]


def test_another_implementation_converts_one_cell(judge: Judge, child: type[FakeChild]) -> None:
    judge.reference(CELL.model, "fp32")
    changed = judge.with_subject(CELL, "suites.defects.norms:FIXED")
    changed.conversion(CELL)
    judge.conversion(CELL)
    specs = [args[0] for name, args, _ in child.calls if name == "convert"]
    assert specs == ["suites.defects.norms:FIXED", judge.subject_spec]
    assert names(child).count("write_reference") == 1


def test_other_outputs_can_be_taken_for_the_backend_s(
    judge: Judge, child: type[FakeChild]
) -> None:
    ran = judge.execution(CELL)
    done = len(child.calls)
    other = replace(ran, batches=ran.batches[:1])
    changed = judge.with_execution(CELL, other)
    assert changed.execution(CELL) is other
    assert changed.conversion(CELL) is judge.conversion(CELL)
    assert judge.execution(CELL) is ran
    assert len(child.calls) == done


def test_other_options_are_for_the_backend_of_one_cell_alone(
    judge: Judge, child: type[FakeChild]
) -> None:
    judge.execution(CELL)
    judge.with_options(CELL, SessionOptions(precision="fp16")).execution(CELL)
    precisions = [args[3].precision for name, args, _ in child.calls if name == "load"]
    assert precisions == ["fp32", "fp16"]
    assert names(child).count("convert") == 1


def test_a_model_is_forgotten_when_it_is_judged(judge: Judge, child: type[FakeChild]) -> None:
    judge.reference(CELL.model, "fp32")
    judge.conversion(CELL)
    checkpoint = Path(judge.checkpoint(CELL.model))
    judge.forget(CELL.model)
    assert checkpoint.is_file()
    judge.conversion(CELL)  # asked for again; the reference is still in the cache
    judge.reference(CELL.model, "fp32")
    asked = names(child)
    assert [asked.count(name) for name in ("checkpoint_for", "convert", "write_reference")] == [
        2, 2, 1,
    ]  # fmt: skip


def test_a_model_that_is_dropped_leaves_no_files(child: type[FakeChild], tmp_path: Path) -> None:
    judge = replace(
        make_judge(ArtifactCache(tmp_path / "cache"), tmp_path / "scratch"),
        dropped=lambda model: model.name == CELL.model.name,
    )
    judge.conversion(CELL)
    judge.reference(CELL.model, "fp32")
    root = Path(child.calls[-2][1][-1])
    assert root.is_relative_to(tmp_path / "scratch")
    assert list(root.iterdir())
    checkpoint = Path(judge.checkpoint(CELL.model))
    judge.forget(CELL.model)
    assert not root.exists()
    assert not checkpoint.exists()
    assert not (tmp_path / "cache").exists()


def test_a_checkpoint_of_the_users_is_never_removed(
    child: type[FakeChild], tmp_path: Path
) -> None:
    del child
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"weights")
    judge = replace(
        make_judge(ArtifactCache(tmp_path / "cache"), tmp_path / "scratch"),
        dropped=lambda _model: True,
    )
    cell = replace(CELL, model=replace(CELL.model, checkpoint=str(mine)))
    judge.conversion(cell)
    judge.forget(cell.model)
    assert mine.is_file()
