"""How far honest rounding goes in float32: the envelope of PyTorch's runs."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from poseconform.reference.errors import REF_ERRORS, SumsInOrder


@torch.no_grad()
def test_the_envelope_has_the_error_of_the_mean_that_onnx_runtime_takes() -> None:
    """It adds in order; PyTorch adds in a cascade, which is up to 46 times as exact."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(1)
    model, x = nn.AdaptiveAvgPool2d(1).eval(), torch.randn(2, 8, 128, 96).relu()
    truth = copy.deepcopy(model).double()(x.double()).numpy()
    pooled = onnx.helper.make_graph(
        [onnx.helper.make_node("GlobalAveragePool", ["x"], ["y"])], "pool",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (2, 8, 1, 1))],
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 17)
    graph = onnx.helper.make_model(pooled, opset_imports=[opset], ir_version=8)
    (mean,) = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"x": x.numpy()})
    needed = np.abs(mean - truth).max()
    errors = []
    for run in REF_ERRORS["fp32"]:
        with run(model) as (ready, cast):
            errors.append(np.abs(ready(cast(x)).numpy() - truth).max())
    assert needed > 5 * min(errors), "the plain run alone would refuse it"
    assert 0.5 * max(errors) <= needed <= 1.1 * max(errors)


@pytest.mark.parametrize("dims", [(2, 3), (-1,), (1,), (0, 2)])
@torch.no_grad()
def test_a_sum_in_order_is_that_sum(dims: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, 5, 4)
    with SumsInOrder():
        for keep in (False, True):
            mean, total = x.mean(dims, keepdim=keep), x.sum(dims, keepdim=keep)
            torch.testing.assert_close(mean, x.double().mean(dims, keepdim=keep).float())
            torch.testing.assert_close(total, x.double().sum(dims, keepdim=keep).float())
        exact = x.double().mean(dims)
    torch.testing.assert_close(exact, x.double().mean(dims), rtol=0, atol=0)


class Keeping(torch.nn.Linear):
    """Keeps the result of its first run, as mmpose's heads do."""

    kept: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = super().forward(x) if self.kept is None else self.kept
        return torch.cat([super().forward(x), self.kept])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_what_a_model_keeps_of_a_run_stays_out_of_others(precision: str) -> None:
    model, x = Keeping(2, 2).eval(), torch.ones(1, 2)
    for of in ("fp16", precision):
        for run in REF_ERRORS[of]:
            with run(model) as (ready, cast), torch.no_grad():
                ready(cast(x))  # RuntimeError where types of 16 bits meet
    assert model.kept is None
