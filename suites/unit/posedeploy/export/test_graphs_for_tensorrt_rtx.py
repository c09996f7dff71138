"""NVIDIA's own parser and builder take the graph of every head and backbone, without a GPU.

The models are tiny: an operator that the library lacks is one at any size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.grouping_configs import GROUPING_KINDS, SIDE, write_grouping_config
from posedeploy.apis.exporting import export_spec
from posedeploy.compat import install
from posedeploy.config import DeployConfig, ModelConfig, load_deploy_config, load_model_config
from posedeploy.convert import get_converter
from posedeploy.export import export_onnx, exportable_module
from posedeploy.zoo.build import build_model

pytest.importorskip(
    "tensorrt_rtx_bindings", reason="unavailable:not-installed", exc_type=ImportError
)
FLOW = "tensorrt-rtx-fp16_dynamic"  # a graph of both types, with a profile


def check_engine(model: Any, config: ModelConfig, deploy: DeployConfig, folder: Path) -> None:
    """Export a model as a flow has it, and build an engine with the contract's ends."""
    module = exportable_module(model, config, deploy, export_spec(deploy)["stage"])
    graph = export_onnx(module, deploy, folder / "ir.onnx")
    (folder / "sdk").mkdir()
    converter = get_converter("tensorrt-rtx", deploy.precision)
    done = converter.convert(graph.path, deploy, folder / "sdk", None)
    assert done.declared is not None
    batch: int | str = "batch" if deploy.dynamic_batch else 1
    width, height = config.input_size
    assert [info.shape for info in done.declared.inputs] == [(batch, 3, height, width)]
    assert tuple(info.name for info in done.declared.outputs) == module.output_names
    for info in (*done.declared.inputs, *done.declared.outputs):
        assert (info.dtype, info.shape[0]) == ("float32", batch)
    assert (folder / "sdk" / "end2end.engine").stat().st_size > 0


def test_every_head_and_backbone_is_built(each_subject: Any, tmp_path: Path) -> None:
    deploy = each_subject.sized_config(FLOW)
    check_engine(each_subject.model, each_subject.config, deploy, tmp_path)


@pytest.mark.parametrize("word", GROUPING_KINDS)
def test_heads_whose_people_the_host_groups_are_built(word: str, tmp_path: Path) -> None:
    install()
    config = load_model_config(write_grouping_config(word, tmp_path / "model.py"))
    deploy = load_deploy_config(f"pose-detection_{word}_{FLOW}-{SIDE}x{SIDE}")
    check_engine(build_model(config, None), config, deploy, tmp_path)
