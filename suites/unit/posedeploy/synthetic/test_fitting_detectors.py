"""The parts that detectors are fitted and measured with: votes, cells, colors, matching."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.synthetic.drawn import PALETTE
from posedeploy.synthetic.fitting import __main__, can_fit, why_not, yoloxpose
from posedeploy.synthetic.fitting.cells import box_values, cells_of, fit_cells, offsets, peaks
from posedeploy.synthetic.fitting.colors import color_directions, construct_focus
from posedeploy.synthetic.fitting.detector_accuracy import (
    DetectorAccuracy,
    Found,
    detect,
    ious,
    matched,
    measure_detector,
    summarize,
)
from posedeploy.synthetic.fitting.fit import fit
from posedeploy.synthetic.fitting.samples import Samples, make_samples
from posedeploy.synthetic.fitting.votes import VoteMaps, mean_places, middles
from posedeploy.synthetic.fitting.workbench import Workbench
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import config_path, model_row

SIZE, SHAPE, STRIDE = (416, 416), (26, 26), 16.0
IMAGES = 6  # to fit to; the plan asks for 25 times as many


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model_config(config_path(model_row("yoloxpose_tiny")))


@pytest.fixture(scope="module")
def samples(config: ModelConfig) -> Samples:
    return make_samples(config, "fitting", 4, people=2)


@pytest.fixture(scope="module")
def fresh(config: ModelConfig) -> Any:
    torch.manual_seed(0)
    return build_model(config, None)


def test_joints_of_the_mean_figure_vote_for_its_middle(samples: Samples) -> None:
    places = mean_places(samples.joints)
    middle = torch.tensor([208.0, 192.0])
    joints = (places + middle)[None, None]
    assert torch.allclose(middles(joints)[0, 0], middle, atol=1e-3)
    maps = VoteMaps(places, 1.0, (20.0, 30.0))
    drawn = maps.draw(joints, SHAPE, SIZE, 0.0)
    assert drawn.shape == (1, maps.channels, *SHAPE) == (1, 85, 26, 26)
    for joint in drawn[0, :17]:
        row, column = divmod(int(joint.argmax()), SHAPE[1])
        assert (column * STRIDE, row * STRIDE) == (208.0, 192.0)
        assert float(joint.max()) == pytest.approx(maps.scale, rel=1e-3)
    assert torch.allclose(drawn[0, 17:, 12, 13], torch.tensor(maps.scale), atol=0.01)  # no moment
    halfway = VoteMaps(places, 0.5, (20.0,)).draw(joints, SHAPE, SIZE, 0.0)[0, 16]
    row, _ = divmod(int(halfway.argmax()), SHAPE[1])
    expected = middle[1] + places[16, 1] / 2
    assert abs(row * STRIDE - float(expected)) <= STRIDE / 2


def test_offsets_and_boxes_are_what_the_head_decodes(samples: Samples, fresh: Any) -> None:
    cells = cells_of(samples.joints, samples.boxes, SHAPE, STRIDE)
    priors = cells.places.reshape(-1, 2)
    strides = priors.new_full((len(priors),), STRIDE)
    flat = offsets(cells).flatten(1, 2)
    joints = fresh.head.decode_kpt_reg(flat, priors, strides)
    assert torch.allclose(joints, cells.joints.flatten(1, 2), atol=1e-3)
    boxes = fresh.head.decode_bbox(box_values(cells).flatten(1, 2), priors, strides)
    assert torch.allclose(boxes, cells.boxes.flatten(1, 2), atol=1e-3)


def test_cells_belong_to_the_nearest_person(samples: Samples) -> None:
    cells = cells_of(samples.joints, samples.boxes, SHAPE, STRIDE)
    for person in range(2):
        column, row = (middles(samples.joints)[0, person] / STRIDE).round().long().tolist()
        assert torch.equal(cells.joints[0, row, column], samples.joints[0, person])
        assert torch.equal(cells.boxes[0, row, column], samples.boxes[0, person])
        assert float(cells.distance[0, row, column]) <= STRIDE
        assert float(peaks(cells, (16.0,))[0, row, column, 0]) > 0.7
    assert float(peaks(cells, (16.0,)).mean()) < 0.1


def test_stem_rectifies_colors(fresh: Any) -> None:
    stem = fresh.backbone.stem
    with torch.no_grad():
        construct_focus(stem)
        images = torch.tensor(PALETTE, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 8, 8)
        seen = stem(images.contiguous())[:, :, 1, 1]  # away from the border
    for channel, (direction, level) in enumerate(color_directions()):
        above = torch.tensor(PALETTE, dtype=torch.float32) @ direction - level
        expected = nn.functional.silu(above * 10 / 128)
        assert torch.allclose(seen[:, channel], expected, atol=1e-3)
    rows = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
    assert int(torch.linalg.matrix_rank(rows, rtol=1e-4)) >= 12  # colors alone have 4


class Tail(nn.Module):
    """A convolution and a norm that know nothing, behind features that are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.last = nn.Conv2d(channels, 38, 1)

    @property
    def head(self) -> Any:
        return self

    def extract_feat(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(inputs)
        return outputs


def test_cells_near_a_middle_are_fitted(samples: Samples) -> None:
    """Features that hold the answer: the layer finds it; far away nothing is asked of it."""
    cells = cells_of(samples.joints, samples.boxes, SHAPE, STRIDE)
    truth = torch.cat([offsets(cells), box_values(cells)], dim=-1)
    near = cells.distance < 40
    features = torch.where(near[..., None], truth, torch.full_like(truth, 1e3)).movedim(-1, 1)
    model = Tail(features.shape[1])
    behind = dataclasses.replace(samples, inputs=features)
    with torch.no_grad():
        bench = Workbench(model, behind, size=SIZE)
        tasks = [(box_values, 40.0, 1e-5), (offsets, 40.0, 1e-5)]
        fit_cells(bench, "last", STRIDE, tasks)
        found = model(features).movedim(1, -1)
    wanted = torch.cat([box_values(cells), offsets(cells)], dim=-1)
    assert float((found - wanted)[near].abs().max()) < 0.25
    assert float((found - wanted)[~near].abs().max()) > 10


def test_every_stage_of_the_detectors_plan_is_a_layer_of_it(fresh: Any, samples: Samples) -> None:
    places = mean_places(samples.joints)
    stages = [*yoloxpose._early(), *yoloxpose._late(places)]
    assert len({stage.layer for stage in stages}) == len(stages) > 20
    for stage in stages:
        assert fresh.get_submodule(stage.layer).conv.groups == 1
        if stage.identity:
            assert fresh.get_submodule(stage.identity).add_identity


def found_as_drawn(samples: Samples, shift: float = 0.0) -> list[Found]:
    pairs = zip(samples.boxes.double().numpy(), samples.joints.double().numpy(), strict=True)
    return [Found(boxes, np.array([0.9, 0.8]), joints + shift) for boxes, joints in pairs]


def test_detections_are_matched_once_and_misses_count(samples: Samples) -> None:
    perfect = summarize(matched(found_as_drawn(samples), samples), samples)
    assert (perfect.recall, perfect.precision, perfect.pck, perfect.oks) == (1, 1, 1, 1)
    shifted = summarize(matched(found_as_drawn(samples, shift=3.0), samples), samples)
    assert shifted.mean_px == pytest.approx(3 * 2**0.5, rel=1e-3)
    double = [
        Found(*(np.concatenate([part, part]) for part in (one.boxes, one.scores, one.joints)))
        for one in found_as_drawn(samples)
    ]
    assert summarize(matched(double, samples), samples).precision == 0.5
    half = [Found(one.boxes[:1], one.scores[:1], one.joints[:1]) for one in double]
    missed = summarize(matched(half, samples), samples)
    assert (missed.recall, missed.precision, missed.pck, missed.oks) == (0.5, 1, 0.5, 0.5)
    assert missed.mean_px == pytest.approx(0, abs=1e-3)
    nothing = [Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 2))) for _ in half]
    empty = summarize(matched(nothing, samples), samples)
    assert (empty.recall, empty.precision, empty.pck) == (0, 0, 0)


def test_iou_of_half_a_box() -> None:
    box, boxes = np.array([0.0, 0, 10, 10]), np.array([[0.0, 0, 10, 5], [20, 20, 30, 30]])
    assert ious(box, boxes).tolist() == [0.5, 0.0]


def test_few_images_already_make_a_detector(config: ModelConfig) -> None:
    """A few of the plan's images: every figure is found, and most joints, far above chance."""
    few = dataclasses.replace(yoloxpose.PLAN, images=IMAGES)
    torch.manual_seed(0)
    model: Any = build_model(config, None)
    fit(model, config, 0, few)
    measured = measure_detector(model, config, 4, few.people)
    assert measured.recall >= 0.8
    assert measured.precision >= 0.8
    assert measured.pck_10 > 0.5
    with torch.no_grad():
        scores, _, objects, *_ = model.head.forward(model.extract_feat(torch.zeros(1, 3, *SIZE)))
    for level in (0, 2):  # silent, whatever they see
        logits = scores[level].sigmoid() * objects[level].sigmoid()
        assert float(logits.max()) < model.test_cfg["score_thr"]


def test_unfitted_detector_finds_no_joints(fresh: Any, samples: Samples) -> None:
    """What makes the measures above mean something."""
    measured = summarize(matched(detect(fresh, samples), samples), samples)
    assert measured.pck < 0.1


def test_detector_of_another_size_is_refused() -> None:
    assert can_fit(model_row("yoloxpose_tiny"))
    assert why_not(model_row("yoloxpose_s")) == "its plan is for inputs of 416 x 416"


@pytest.mark.parametrize(("pck", "code"), [(0.9, 0), (0.8, 1)])
def test_command_prints_a_table_of_detectors(
    pck: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = DetectorAccuracy(0.98, 0.75, 0.8, pck, 0.95, 4.5, 3.5, 0.9, 1.25)
    assert __main__.main(["yoloxpose_tiny", "rtmo_t"], measure=lambda *_: measured) == code
    printed = capsys.readouterr().out
    row = f"0.980 | 0.750 | 0.800 | {pck:.3f} | 0.950 | 4.50 | 3.50 | 0.900 | 1.25"
    assert f"| yoloxpose_tiny | {row}" in printed
    assert ("MISSED" in printed) == bool(code)
    assert "| rtmo_t | not fitted: " in printed
    assert "| model |" not in printed  # no table without rows
