"""Ranges of a model: the norm that loses trained RTMPoses in float16, and its exported form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fixtures.tiny_models import TinyModel
from posedeploy.apis import RangeReport, model_ranges

NORM = "head.mlp.0"


def stressed(tiny: TinyModel, path: Path, largest: float) -> Path:
    """A checkpoint of the same function, for ScaleNorm takes the factor of its input out again."""
    report = model_ranges(tiny.config, tiny.checkpoint, count=1)
    (before,) = (o.largest for o in report.operations if o.module == "head.final_layer")
    content = torch.load(tiny.checkpoint)
    for name in ("head.final_layer.weight", "head.final_layer.bias"):
        content["state_dict"][name] *= largest / before
    torch.save(content, path)
    return path


def norms(report: RangeReport) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = [o for o in report.operations if o.operator == "linalg_vector_norm"]
    return [(o.module, report.remedy(o), o.risks) for o in rows]


@pytest.mark.parametrize("largest", [274.0, 2000.0])  # of a published model; beyond it
def test_the_norm_that_overflows_is_named_and_its_exported_form_holds(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path, largest: float
) -> None:
    tiny = tiny_model("rtmpose_t")
    checkpoint = stressed(tiny, tmp_path / "stressed.pth", largest)
    report = model_ranges(tiny.config, checkpoint, count=1)
    assert norms(report)[0] == (NORM, "rewritten at export", ("sum",))
    assert report.failures == ()
    assert report.count == 1
    exported = model_ranges(tiny.config, checkpoint, count=1, backend="ncnn")
    assert norms(exported)[0] == (NORM, "", ())
    plain = model_ranges(tiny.config, checkpoint, count=1, backend="torchscript")
    assert [o.module for o in plain.failures] == [NORM]


@pytest.mark.parametrize("name", ["yoloxpose_tiny", "reg_res50"])
def test_other_heads_are_measured_too(tiny_model: Callable[[str], TinyModel], name: str) -> None:
    tiny = tiny_model(name)
    report = model_ranges(tiny.config, tiny.checkpoint, count=1)
    assert len(report.operations) > 20
    assert {o.module.split(".")[0] for o in report.operations} >= {"backbone", "head"}
