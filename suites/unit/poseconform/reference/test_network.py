"""The reference writes what mmpose computes: in float64, with its own rounding beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fixtures.builders import make_model
from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from poseconform.compare.metrics import Detections
from poseconform.compare.tolerances import NEAR_TIES, NearTie, tolerance_for
from poseconform.reference import network as reference
from poseconform.reference.codecs import decode
from poseconform.reference.detections import (
    LOGITS_A_SCORE,
    _class_ties,
    _head_run_once,
    _predictions,
    _shifts,
    _truth,
)
from poseconform.reference.errors import REF_ERRORS, ref_error
from poseconform.reference.heads import last_stage
from poseconform.reference.values import DETECTION_OUTPUTS, Reference, Sample, read_reference

ROW = tolerance_for("*", "fp32")


def samples() -> list[Sample]:
    return [drawn(3, (200, 150)), drawn(4, (160, 220)), drawn(5, (180, 180))]


def refer(tiny: TinyModel, folder: Path, precision: str = "fp32") -> Reference:
    words = {"yolox": "yolox-pose", "res50": "regression", "rtmpose": "simcc"}
    word = next((words[part] for part in words if part in tiny.config.name), "simcc")
    model = make_model(word, config=str(tiny.config))
    facts = reference.write_reference(
        model, str(tiny.checkpoint), precision, samples(), str(folder)
    )
    return read_reference(folder, facts)


def of_data_set(keypoints: int, *links: tuple[str, str]) -> str:
    """Lines of a config whose data set has keypoints a0, a1 and so on."""
    points = {
        i: {"name": f"a{i}", "id": i, "color": [0] * 3, "swap": ""} for i in range(keypoints)
    }
    skeleton = {i: {"link": link, "id": i, "color": [0] * 3} for i, link in enumerate(links)}
    metainfo = {
        "dataset_name": "own", "keypoint_info": points, "skeleton_info": skeleton,
        "joint_weights": [1.0] * keypoints, "sigmas": [0.1] * keypoints,
    }  # fmt: skip
    return f"test_dataloader = dict(dataset=dict(metainfo={metainfo}))"


Temp = pytest.TempPathFactory


@pytest.fixture(scope="module")
def simcc(tiny_model: Callable[[str], TinyModel], tmp_path_factory: Temp) -> Reference:
    return refer(tiny_model("rtmpose_t"), tmp_path_factory.mktemp("simcc"))


@pytest.fixture(scope="module")
def yolox(tiny_model: Callable[[str], TinyModel], tmp_path_factory: Temp) -> Reference:
    return refer(tiny_model("yoloxpose_tiny"), tmp_path_factory.mktemp("yolox"))


def test_outputs_are_the_models_own_in_float64(
    simcc: Reference, tiny_model: Callable[[str], TinyModel]
) -> None:
    assert set(simcc.outputs) == {"simcc_x", "simcc_y"}
    assert simcc.outputs["simcc_x"].shape == (3, 17, 128)
    assert simcc.outputs["simcc_y"].dtype == np.float64
    tiny = tiny_model("rtmpose_t")
    model = reference.load_model(str(tiny.config), str(tiny.checkpoint))
    with torch.no_grad():
        x, _ = model.head.forward(model.extract_feat(torch.from_numpy(simcc.inputs)))
    error = np.abs(x.numpy() - simcc.outputs["simcc_x"]).max()
    # this very run is among those whose envelope is the ref_error
    assert 0 < error <= simcc.ref_errors["simcc_x"].max * 1.5
    assert simcc.ref_errors["simcc_x"].size_max == np.abs(simcc.outputs["simcc_x"]).max()


CHILD = """
import sys; sys.path[:0] = {path!r}
from poseconform.reference.network import load_model, prepare
from fixtures.images import drawn
model = load_model({config!r}, {checkpoint!r})
prepare(model, [drawn(3, (200, 150))], top_down=True)
assert 'mmpose.models' in sys.modules
print(sorted({{'matplotlib', 'mmpose.apis', 'pkg_resources'}} & set(sys.modules)))
"""


def test_what_draws_is_not_imported(tiny_model: Callable[[str], TinyModel]) -> None:
    tiny = tiny_model("rtmpose_t")
    code = CHILD.format(path=sys.path, config=str(tiny.config), checkpoint=str(tiny.checkpoint))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["rtmpose_t", "yoloxpose_tiny/2"])
def test_the_model_is_the_one_that_mmpose_builds(
    name: str, tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny = tiny_model(name)
    ours = reference.load_model(str(tiny.config), str(tiny.checkpoint))
    from mmpose.apis import init_model

    theirs = init_model(str(tiny.config), str(tiny.checkpoint), "cpu")
    assert str(ours) == str(theirs)
    assert ours.test_cfg == {**theirs.test_cfg, "flip_test": False}
    assert ours.dataset_meta["dataset_name"] == theirs.dataset_meta["dataset_name"]
    assert not ours.training
    for (key, value), (other, same) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert key == other
        assert torch.equal(value, same)


def test_inputs_are_the_images_as_mmpose_prepares_them(simcc: Reference) -> None:
    assert simcc.inputs.shape == (3, 3, 96, 64)
    assert simcc.inputs.dtype == np.float32
    assert len({image.tobytes() for image in simcc.inputs}) == 3
    assert np.abs(simcc.inputs).max() < 3  # normalized


def test_keypoints_are_decoded_from_the_outputs(
    simcc: Reference, tiny_model: Callable[[str], TinyModel]
) -> None:
    assert simcc.keypoints.shape == (3, 17, 2)
    again = decode(str(tiny_model("rtmpose_t").config), simcc.outputs)
    np.testing.assert_array_equal(again, simcc.keypoints)
    assert simcc.argmax_gap.shape == (3, 17)
    assert np.isinf(simcc.shift_gap).all()
    assert simcc.near_ties(ROW).mean() < 0.2


def test_image_keypoints_are_keypoints_in_the_box(simcc: Reference) -> None:
    for i, sample in enumerate(samples()):
        left, top, right, bottom = sample.bbox
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
        # mmpose pads the box by a quarter and fits it to the input's 2:3
        scale = 1.25 * max((right - left) / 64, (bottom - top) / 96)
        expected = middle + (simcc.keypoints[i] - [32, 48]) * scale
        np.testing.assert_allclose(simcc.image_keypoints[i][0], expected, atol=scale + 1e-3)


@pytest.mark.parametrize("name", ["dsnt_res50", "rle_res50"])
def test_coordinates_have_mmposes_scores_and_no_near_ties(
    name: str, tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    tiny = tiny_model(name)
    found = refer(tiny, tmp_path)
    sigmas = name == "rle_res50"
    assert found.outputs["output"].shape == (3, 17, 4 if sigmas else 2)
    model = reference.load_model(str(tiny.config), str(tiny.checkpoint))
    with torch.no_grad():
        instances = model.head.predict(model.extract_feat(torch.from_numpy(found.inputs)), [], {})
    for i, instance in enumerate(instances):
        np.testing.assert_allclose(found.keypoints[i], instance.keypoints[0], atol=0.01)
        np.testing.assert_allclose(found.scores[i], instance.keypoint_scores[0], atol=1e-5)
    assert (np.ptp(found.scores) > 0.01) == sigmas
    assert not found.near_ties(ROW).any()
    again = decode(str(tiny.config), found.outputs)
    np.testing.assert_array_equal(again, found.keypoints)


def test_facts_say_what_was_done(simcc: Reference) -> None:
    assert simcc.facts["precision"] == "fp32"
    assert simcc.facts["samples"] == [sample.name for sample in samples()]
    assert simcc.facts["torch"] == torch.__version__


def test_half_precision_has_a_wider_ref_error(
    simcc: Reference, tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    half = refer(tiny_model("rtmpose_t"), tmp_path, "fp16")
    np.testing.assert_array_equal(half.outputs["simcc_x"], simcc.outputs["simcc_x"])
    assert half.ref_errors["simcc_x"].rms > 30 * simcc.ref_errors["simcc_x"].rms


def test_bf16_of_a_detector_has_a_wider_ref_error(
    yolox: Reference, tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    """Mmpose's `predict` ends with numpy, which has no bf16."""
    rounded = refer(tiny_model("yoloxpose_tiny"), tmp_path, "bf16")
    for name in ("dets.boxes", "keypoints.xy"):
        assert rounded.ref_errors[name].rms > 300 * yolox.ref_errors[name].rms > 0


def test_a_ref_error_is_measured_by_three_runs_at_fp32() -> None:
    assert len(REF_ERRORS["fp32"]) == 3
    assert ref_error(np.array([0.0, 3.0]), np.array([4.0, 0.0])).tolist() == [
        3.0, pytest.approx(np.sqrt(4.5)), 4.0, pytest.approx(np.sqrt(8.0)),
    ]  # fmt: skip
    assert ref_error(np.zeros(0), np.zeros(0)).tolist() == [0.0] * 4


def test_only_the_last_stage_of_many_counts() -> None:
    stages = [torch.zeros(1), torch.ones(1)]
    assert last_stage(stages)[0].item() == 1.0
    assert len(last_stage(torch.zeros(1))) == 1


def test_detections_come_with_what_is_sure_among_them(yolox: Reference) -> None:
    assert yolox.bottom_up
    assert yolox.inputs.shape == (3, 3, 96, 96)
    assert set(yolox.ref_errors) == set(DETECTION_OUTPUTS)
    for truth in yolox.detections:
        assert len(truth.possible) == len(truth.stable) == len(truth.base) > 0
        assert (np.diff(truth.possible.scores) <= 0).all()
        assert truth.stable.any()
        assert not (truth.stable & ~truth.base).any()
        assert truth.possible.keypoints.shape[1:] == (17, 2)
    assert 0 < yolox.ref_errors["dets.boxes"].max < 1e-2


def test_image_detections_are_those_with_the_thresholds_as_they_are(yolox: Reference) -> None:
    for i, truth in enumerate(yolox.detections):
        assert len(yolox.image_keypoints[i]) == len(yolox.image_scores[i]) == truth.base.sum()


@pytest.mark.parametrize(("margin", "part"), [(0.0, 0.0), (1e-4, 0.0), (10.0, 1.0)])
def test_classes_that_a_near_tie_decides_are_known(
    tiny_model: Callable[[str], TinyModel], margin: float, part: float
) -> None:
    tiny = tiny_model("yoloxpose_tiny/2")
    model = reference.load_model(str(tiny.config), str(tiny.checkpoint))
    batch = reference.prepare(model, [drawn(3, (200, 150))], top_down=False)
    ties = NearTie(0.0, margin, 2.0, 0.0)
    ((found, *_),), ((_, _, labels),) = _predictions(
        model, batch["inputs"], batch["data_samples"], ((0.0, 0.0),), ties
    )
    assert found.labels is not None
    assert found.class_ties is not None
    np.testing.assert_array_equal(found.labels, labels)
    assert set(labels.tolist()) == {0, 1}
    assert found.class_ties.mean() == part
    assert "forward" not in vars(model.head)


def test_of_two_classes_the_nearer_tie_is_found(
    tiny_model: Callable[[str], TinyModel],
) -> None:
    tiny = tiny_model("yoloxpose_tiny/2")
    model = reference.load_model(str(tiny.config), str(tiny.checkpoint))
    batch = reference.prepare(model, [drawn(3, (200, 150))], top_down=False)
    inputs, samples = batch["inputs"], batch["data_samples"]
    with torch.no_grad():
        raw = model.head.forward(model.extract_feat(inputs))
    gaps = torch.cat([(level[0, 0] - level[0, 1]).abs().flatten() for level in raw[0]])
    for margin in (0.05, 0.2):  # logits
        ties = NearTie(0.0, margin / LOGITS_A_SCORE, 2.0, 0.0)
        with _head_run_once(model, inputs), torch.no_grad():
            tied = _class_ties(model, samples[0], ties)
        assert 0 < len(tied) <= int((gaps <= margin).sum())


def people(*scores: float) -> Detections:
    boxes = np.array([[s, s, s + 1, s + 1] for s in scores]).reshape(-1, 4)
    places, sure = np.zeros((len(scores), 1, 2)), np.ones((len(scores), 1))
    labels, ties = np.zeros(len(scores), np.int64), np.zeros(len(scores), bool)
    return Detections(boxes, np.array(scores), places, sure, labels, ties)


def test_stable_is_in_all_variants_and_base_is_in_the_first() -> None:
    found = _truth((people(0.9, 0.5), people(0.9, 0.4), people(0.9, 0.5, 0.4)))
    assert found["scores"].tolist() == [0.9, 0.5, 0.4]
    assert found["stable"].tolist() == [True, False, False]
    assert found["base"].tolist() == [True, True, False]
    nobody = _truth((people(), people()))
    assert nobody["stable"].size == 0
    assert nobody["keypoints"].shape == (0, 1, 2)


def test_the_first_shift_is_none_and_the_others_are_all_corners() -> None:
    first, *corners = _shifts(NEAR_TIES["fp32"])
    assert first == (0.0, 0.0)
    assert len({(np.sign(a), np.sign(b)) for a, b in corners}) == 4


def test_the_names_of_keypoints_are_not_needed(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    """DeepFashion's class has none, and a file counts from the folder of training."""
    tiny = tiny_model("rtmpose_t")
    for i, dataset in enumerate(
        ("type='DeepFashionDataset'", "metainfo=dict(from_file='data/own.py')", "type='Mine'")
    ):
        path = tmp_path / f"model{i}.py"
        training = f"dict(dataset=dict({dataset}))"
        path.write_text(f"_base_ = {str(tiny.config)!r}\ntrain_dataloader = {training}")
        model = reference.load_model(str(path), str(tiny.checkpoint))
        assert model.head.out_channels == 17


def test_selected_keypoints_are_known(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    tiny = tiny_model("rtmpose_t")
    path = tmp_path / "model.py"
    selection = "dict(test_cfg=dict(output_keypoint_indices=[5, 3, 4]))"
    path.write_text(f"_base_ = {str(tiny.config)!r}\nmodel = {selection}\n{of_data_set(3)}")
    found = refer(TinyModel(path, tiny.checkpoint), tmp_path)
    assert found.selected is not None
    assert found.selected.tolist() == [5, 3, 4]
    assert (found.keypoints.shape[1], found.image_keypoints[0].shape) == (17, (1, 3, 2))


def test_the_skeleton_is_the_data_sets(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    """DEKR's net that scores people reads it; mmpose's `init_model` would take COCO's."""
    tiny = tiny_model("rtmpose_t")
    saved = torch.load(tiny.checkpoint, weights_only=True)
    saved["meta"] = {}  # a checkpoint without metadata
    torch.save(saved, tmp_path / "weights.pth")
    path = tmp_path / "model.py"
    path.write_text(f"_base_ = {str(tiny.config)!r}\n{of_data_set(17, ('a16', 'a2'))}")
    model = reference.load_model(str(path), str(tmp_path / "weights.pth"))
    assert model.dataset_meta["skeleton_links"] == [(16, 2)]
