"""The parts that weights are fitted with: regression, kernels, target maps, samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from posedeploy.compat import install
from posedeploy.config import ModelConfig, load_model_config
from posedeploy.synthetic.drawn import PALETTE
from posedeploy.synthetic.fitting.convolution import window_of, write
from posedeploy.synthetic.fitting.grid import cell_offset
from posedeploy.synthetic.fitting.randomness import initialize_smooth, scale_norm
from posedeploy.synthetic.fitting.ridge import Ridge
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.workbench import Stage, Workbench
from posedeploy.synthetic.samples import Samples, make_samples
from posedeploy.zoo.table import config_path, model_row


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model_config(config_path(model_row("litehrnet_18")))


@pytest.fixture(scope="module")
def samples(config: ModelConfig) -> Samples:
    return make_samples(config, "evaluation", 6)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_ridge_finds_the_layer_that_made_the_targets() -> None:
    weight, bias, features = random(3, 5), random(3, seed=1), random(400, 5, seed=2)
    targets = features @ weight.T + bias
    ridge = Ridge(5, 3)
    for part in range(4):  # in batches, as rows come
        rows = slice(100 * part, 100 * part + 100)
        ridge.add(features[rows], targets[rows], torch.ones(100))
    solution = ridge.solve(1e-9)
    assert torch.allclose(solution.weight, weight, atol=1e-4)
    assert torch.allclose(solution.bias, bias, atol=1e-4)
    assert (solution.explained > 0.9999).all()
    plain = features @ weight.T
    assert torch.allclose(solution.mean, plain.mean(dim=0), atol=1e-4)
    assert torch.allclose(solution.variance, plain.var(dim=0, unbiased=False), atol=1e-3)


def test_ridge_weights_count_as_repeated_rows() -> None:
    features, targets = random(50, 4), random(50, 2, seed=1)
    weighted, repeated = Ridge(4, 2), Ridge(4, 2)
    weighted.add(features, targets, torch.full((50,), 3.0))
    for _ in range(3):
        repeated.add(features, targets, torch.ones(50))
    a, b = weighted.solve(1e-2), repeated.solve(1e-2)
    assert torch.allclose(a.weight, b.weight, atol=1e-5)
    assert torch.allclose(a.explained, b.explained, atol=1e-6)


def test_damping_keeps_the_weights_of_faint_features_small() -> None:
    """The penalty is uniform: what hardly varies gets no weight that int8 pays for."""
    features = random(300, 2) * torch.tensor([1.0, 1e-3])
    ridge = Ridge(2, 1)
    ridge.add(features, features[:, 1:] * 1e3, torch.ones(300))
    assert ridge.solve(1e-12).weight.abs().max() > 500
    assert ridge.solve(1e-2).weight.abs().max() < 1


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (7, 2, 3, 1), (3, 1, 2, 2), (1, 2, 0, 1)],
)
def test_columns_times_weights_are_the_convolution(
    kernel: int, stride: int, padding: int, dilation: int
) -> None:
    conv = nn.Conv2d(4, 6, kernel, stride, padding, dilation, bias=False)
    inputs = random(2, 4, 17, 14)
    window = window_of(conv)
    with torch.no_grad():
        expected = conv(inputs)
        found = window.columns(inputs) @ conv.weight.flatten(1).T
    assert window.shape(inputs) == expected.shape[2:]
    assert torch.allclose(found, expected.movedim(1, -1).flatten(0, 2), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_norm_behind_a_convolution_is_undone(bias: bool) -> None:
    """Convolution and norm compute what was solved for; other channels stay as they were."""
    conv, norm = nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.BatchNorm2d(8).eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    inputs, window = random(4, 3, 6, 6), window_of(conv)
    columns, before = window.columns(inputs), conv.weight[5:].clone()
    ridge = Ridge(27, 5)
    ridge.add(columns, random(len(columns), 5), torch.ones(len(columns)))
    solution = ridge.solve(1e-3)
    with torch.no_grad():
        write(conv, norm, solution)
        found = norm(conv(inputs))[:, :5].movedim(1, -1).flatten(0, 2)
        plain = conv(inputs)[:, :5]
    assert torch.allclose(found, columns @ solution.weight.T + solution.bias, atol=1e-4)
    assert torch.allclose(norm.running_mean[:5], plain.mean(dim=(0, 2, 3)), atol=1e-4)
    assert torch.allclose(
        norm.running_var[:5], plain.var(dim=(0, 2, 3), unbiased=False), atol=1e-3
    )
    assert (conv.weight[5:] == before).all()


def test_maps_peak_at_the_joints() -> None:
    joints = torch.tensor([[10.0, 20.0], [33.0, 12.0]]).repeat(1, 9, 1)[:, :17, None]
    joints = joints.reshape(1, 1, 17, 2)
    maps = JointMaps(6.0).draw(joints, (16, 12), (48, 64), 0.0)
    assert maps.shape == (1, 17, 16, 12)
    for joint, (x, y) in enumerate(joints[0, 0].tolist()):
        row, column = divmod(int(maps[0, joint].argmax()), 12)
        assert abs(column * 4 - x) <= 2
        assert abs(row * 4 - y) <= 2
    shifted = JointMaps(6.0).draw(joints + 2.0, (16, 12), (48, 64), 0.5)
    assert torch.allclose(shifted, maps, atol=1e-5)


def test_people_share_a_map_and_do_not_add_up() -> None:
    joints = torch.full((1, 2, 17, 2), 20.0)
    maps = JointMaps(6.0, scale=1.0).draw(joints, (16, 16), (64, 64), 0.0)
    assert float(maps.max()) == pytest.approx(1.0)


def test_offset_is_what_the_codec_adds() -> None:
    install()
    from mmpose.registry import KEYPOINT_CODECS

    shared = {"input_size": (192, 256), "heatmap_size": (48, 64)}
    plain = KEYPOINT_CODECS.build({"type": "MSRAHeatmap", "sigma": 2, **shared})
    megvii = KEYPOINT_CODECS.build({"type": "MegviiHeatmap", "kernel_size": 5, **shared})
    assert cell_offset(plain, (48, 64)) == pytest.approx(0.0)
    assert cell_offset(megvii, (48, 64)) == pytest.approx(0.5)


def test_samples_are_crops_with_their_joints(samples: Samples, config: ModelConfig) -> None:
    assert samples.inputs.shape == (6, 3, 256, 192)
    assert samples.size == (192, 256)
    assert samples.joints.shape == (6, 1, 17, 2)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (config.mean, config.std))
    pixels = (samples.inputs * std + mean).flip(1)  # BGR, 0..255
    hits = 0
    for image, joints in zip(pixels, samples.joints[:, 0], strict=True):
        for joint, (x, y) in enumerate(joints.round().int().tolist()):
            off = image[:, y, x] - torch.tensor(PALETTE[joint])
            hits += bool(off.abs().max() < 60)
    assert hits / (6 * 17) > 0.95


def test_a_box_fills_four_fifths_of_its_crop(samples: Samples) -> None:
    sides = samples.boxes[:, 0, 2:] - samples.boxes[:, 0, :2]
    assert torch.allclose((sides / torch.tensor([192, 256])).amax(dim=1), torch.tensor(0.8))


def test_smooth_kernels_and_spread_thresholds() -> None:
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 32, 5, groups=32)
        )

    first: Any = network()
    again: Any = network()
    with torch.no_grad():
        for each in (first, again):
            initialize_smooth(each, 0, 64.0)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert (a == b).all()
    norm, weight = first[1].requires_grad_(False), first[2].weight
    assert 0.3 < float(norm.bias.std()) < 0.9
    assert (weight.sum(dim=(1, 2, 3)).abs() / weight.abs().sum(dim=(1, 2, 3))).median() > 0.8
    with torch.no_grad():
        bias = norm.bias.clone()
        scale_norm(norm, 0.5)
    assert torch.equal(norm.bias, bias * 0.5)


class Block(nn.Module):
    """A residual block of one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2, self.bn2 = nn.Conv2d(24, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normalized: torch.Tensor = self.bn2(self.conv2(x))
        return x + normalized


class Tiny(nn.Module):
    """A minimal pose estimator for a workbench."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 5, 4, padding=2), nn.BatchNorm2d(24), nn.ReLU(inplace=True)
        )
        self.block, self.head = Block(), nn.Identity()

    def extract_feat(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.block(self.stem(x))
        return features


def test_block_is_fitted_to_what_its_shortcut_lacks(samples: Samples) -> None:
    model: Any = Tiny().eval()
    maps = JointMaps(8.0)
    with torch.no_grad():
        initialize_smooth(model, 0, 57.0)
        workbench = Workbench(model, samples, calibration=4)
        workbench.fit(Stage("block.conv2", maps, norm="block.bn2", identity="block", keep=0.5))
        found = model.extract_feat(samples.inputs)[:, :17]
        shortcut = model.stem(samples.inputs)[:, :17]
    wanted = maps.draw(samples.joints, (64, 48), samples.size, 0.0)
    error = float((found - wanted).square().mean())
    assert error < 0.9 * float(wanted.var())
    assert error < 0.5 * float((shortcut - wanted).square().mean())
    assert workbench.fixed == {model.block.bn2}
    assert not model.stem[1].running_mean.eq(0).any()  # what lies before was calibrated
    statistics = model.stem[1].running_mean.clone()
    workbench.calibrate()
    assert not model.training
    assert torch.allclose(model.stem[1].running_mean, statistics)
