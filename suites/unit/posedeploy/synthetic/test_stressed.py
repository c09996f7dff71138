"""Exact reparametrizations: the same function at any factor, and ranges of the field."""

from __future__ import annotations

import copy
import functools
import math
import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fixtures.tiny_models import make_tiny
from posedeploy.compat import install
from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.synthetic.calibration import calibrate, image_batch
from posedeploy.synthetic.layers import MOST_BELOW_HALF, below_half
from posedeploy.synthetic.reparametrizations import (
    REPARAMETRIZATIONS,
    SCALE_NORM_HEADS,
    Reparametrization,
)
from posedeploy.synthetic.stressed import largest_input, main, multiply, stress, write_stressed
from posedeploy.zoo.build import build_model

install()
EXACT = 1e-12  # of the largest value, in float64
Run = Callable[[nn.Module], tuple[Tensor, ...]]


@functools.cache
def pose_model(name: str, folder: Path) -> tuple[Any, Run]:
    """A tiny model in float64, calibrated, and what runs it on two images.

    ScaleNorm leaves rows alone that are shorter than its epsilon: calibrated weights have none.
    """
    config = load_model_config(make_tiny(name, folder).config)
    model: Any = build_model(config, None)
    calibrate(model, config, seed=7)
    batch = image_batch(config, 2, 7)

    def run(network: Any) -> tuple[Tensor, ...]:
        of_type = batch.to(next(network.parameters()).dtype)
        return tuple(network.head.forward(network.extract_feat(of_type)))

    return model.double(), run


def filled(module: nn.Module) -> nn.Module:
    """In float64, with weights, biases and statistics that are none of 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(noise + 0.5 if "var" in name or "bn" in name else noise - 0.5)
    module.double().eval()  # mmpretrain's returns nothing
    return module


def block(name: str) -> tuple[nn.Module, Run]:
    from mmpose.models.backbones import resnet

    module = getattr(resnet, name)(8, 8)
    x = torch.randn((2, 8, 6, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return filled(module), lambda network: (network(x),)


def attention() -> tuple[nn.Module, Run]:
    """A gated attention unit with a bias of relative positions, which RTMPose's has not."""
    from mmpose.models.utils.rtmcc_block import RTMCCBlock

    module = RTMCCBlock(5, 16, 16, s=8, use_rel_bias=True)
    x = torch.randn((2, 5, 16), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return filled(module), lambda network: (network(x),)


def transformer() -> tuple[nn.Module, Run]:
    kind: Any = pydoc.locate("mmpretrain.models.VisionTransformer")
    arch = {"embed_dims": 16, "num_layers": 2, "num_heads": 2, "feedforward_channels": 32}
    module = kind(arch, img_size=32, patch_size=8, out_type="featmap")
    x = torch.randn((1, 3, 32, 32), generator=torch.Generator().manual_seed(5)).double()
    return filled(module), lambda network: tuple(network(x))


# Owner of a row -> a small network that has it, and how far outputs may be apart
NETWORKS: dict[str, tuple[Callable[[Path], tuple[nn.Module, Run]], float]] = {
    "BasicBlock": (lambda _: block("BasicBlock"), EXACT),
    "Bottleneck": (lambda _: block("Bottleneck"), EXACT),
    "RTMCCBlock": (lambda _: attention(), EXACT),
    "RTMCCHead": (lambda folder: pose_model("rtmpose_t", folder), EXACT),
    "RTMWHead": (lambda folder: pose_model("rtmw_m", folder), EXACT),
    "VisionTransformer": (lambda _: transformer(), 1e-4),  # but for the layer norms' epsilon
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stressed")


@pytest.mark.parametrize("row", REPARAMETRIZATIONS, ids=lambda row: f"{row.name}, {row.owner}")
def test_the_function_is_the_same_at_any_factor(row: Reparametrization, folder: Path) -> None:
    make, limit = NETWORKS[row.owner]
    plain, run = make(folder)
    with torch.no_grad():
        expected = run(plain)

    @settings(max_examples=5, deadline=None, derandomize=True)
    @given(st.floats(1.0, 2000.0))
    def same(factor: float) -> None:
        network = copy.deepcopy(plain)
        owners = [owner for _, owner in row.owners(network)]
        assert owners
        for owner in owners:
            multiply(row, owner, factor)
        with torch.no_grad():
            for found, truth in zip(run(network), expected, strict=True):
                assert float((found - truth).abs().max()) <= limit * float(truth.abs().max())
        if row.norm:
            (path, _), *_ = row.owners(network)
            norm = ".".join(filter(None, (path, row.norm)))
            grown, before = (
                largest_input(n, norm, functools.partial(run, n)) for n in (network, plain)
            )
            assert math.isclose(grown, before * factor, rel_tol=max(limit, 1e-9))

    same()


def test_stress_changes_nothing_in_float32_and_keeps_weights_normal(folder: Path) -> None:
    plain, run = pose_model("rtmpose_t", folder)
    plain = copy.deepcopy(plain).float()
    network = copy.deepcopy(plain)
    grown = {one.norm: one for one in stress(network, lambda: run(network), 2000.0)}
    assert 2000 <= grown["head.mlp.0"].largest < 4000
    assert largest_input(network, "head.mlp.0", lambda: run(network)) == pytest.approx(
        grown["head.mlp.0"].largest
    )
    with torch.no_grad():
        assert all(map(torch.equal, run(network), run(plain)))
    for (name, weight), before in zip(network.named_parameters(), plain.parameters(), strict=True):
        if weight.ndim > 1:
            assert below_half(weight) <= max(MOST_BELOW_HALF, below_half(before)), name


def test_a_norm_that_has_such_inputs_already_is_left_alone(folder: Path) -> None:
    plain, run = pose_model("rtmpose_t", folder)
    network = copy.deepcopy(plain)
    (row, *_) = REPARAMETRIZATIONS
    assert [one.factor for one in stress(network, lambda: run(network), 1.0, [row])] == [1.0]


def test_a_module_that_lacks_a_tensor_does_not_have_the_row() -> None:
    class BasicBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn1 = nn.BatchNorm2d(2)

    (row,) = (row for row in REPARAMETRIZATIONS if row.owner == "BasicBlock")
    assert list(row.owners(BasicBlock())) == []


def test_heads_with_a_scale_norm_are_those_that_the_judge_stresses() -> None:
    assert {"RTMCCHead", "RTMWHead"} == SCALE_NORM_HEADS
    assert {row.owner for row in REPARAMETRIZATIONS} == NETWORKS.keys()


def test_a_model_without_such_a_norm_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    source = tmp_path / "plain.pth"
    torch.save({"state_dict": model.state_dict()}, source)
    with pytest.raises(BadInputError, match="without a norm whose input may have any scale"):
        write_stressed(model, lambda: None, source, 274.0, tmp_path / "stressed.pth")
    assert not (tmp_path / "stressed.pth").exists()


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rtmpose_t", "trained"]) == 2
    assert "MODEL CHECKPOINT TARGET LARGEST" in capsys.readouterr().err
    assert main(["rtmpose_t", "nowhere.pth", "stressed.pth", "274"]) == 2
    assert "nowhere.pth" in capsys.readouterr().err
