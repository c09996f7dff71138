"""Deploy configs of TensorRT for RTX, and what is refused before its library is loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from posedeploy.apis.exporting import export_spec
from posedeploy.apis.graphs import backend_files
from posedeploy.config import DeployConfig, load_deploy_config
from posedeploy.config.naming import conflict, split_name
from posedeploy.convert.tensorrt_rtx import check_declared, chosen_capabilities
from posedeploy.convert.types import Declared
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.runtime import TensorInfo
from posedeploy.runtime.tensorrt import BUILD_FILE
from suites.contract.tensorrt.graphs import SIZE, write_network


def flow(**backend: object) -> DeployConfig:
    """A deploy config for detectors with these fields in its `backend_config`."""
    config = load_deploy_config("pose-detection_rtmo_tensorrt-rtx-fp16_dynamic-416x416")
    return replace(
        config, raw={**config.raw, "backend_config": {**config.raw["backend_config"], **backend}}
    )


def test_a_config_has_a_profile_and_no_limit_of_scratch_memory() -> None:
    config = flow()
    assert (config.backend, config.precision) == ("tensorrt-rtx", "fp16")
    backend = config.raw["backend_config"]
    shapes = backend["model_inputs"][0]["input_shapes"]["input"]
    assert [shapes[key][0] for key in ("min_shape", "opt_shape", "max_shape")] == [1, 2, 4]
    assert "common_config" not in backend, "1 GB is too little for rtmo_t in float32"
    assert export_spec(config)["stage"] == "dense"


def test_compute_capabilities_are_those_that_the_library_has_kernels_for() -> None:
    assert chosen_capabilities(flow()) == ()
    assert chosen_capabilities(flow(compute_capabilities=["8.6", "7.5", "8.6"])) == ("8.6", "7.5")
    with pytest.raises(BadInputError, match=r"found '9\.0'.*'8\.9', '12\.0'"):
        chosen_capabilities(flow(compute_capabilities=["8.6", "9.0"]))


def test_suppression_in_the_graph_is_refused_with_the_reason() -> None:
    name = split_name("pose-detection_rtmo_tensorrt-rtx-nms_static-416x416")
    assert name is not None
    assert conflict(name) == (
        "option nms", "none: TensorRT for RTX has nothing that runs NonMaxSuppression"
    )  # fmt: skip
    with pytest.raises(BadInputError, match="nothing that runs NonMaxSuppression"):
        export_spec(flow(stage="nms"))


IMAGE = TensorInfo("input", ("batch", *SIZE), "float32")
MAPS = TensorInfo("output", ("batch", 4, *SIZE[1:]), "float32")


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        ((IMAGE,), (MAPS,), ""),
        ((IMAGE,), (), "a network with "),
        ((IMAGE,), (replace(MAPS, name="other"),), "a network with other"),
        ((IMAGE,), (replace(MAPS, dtype="float16"),), "12] float16"),
        ((replace(IMAGE, shape=(1, *SIZE)),), (MAPS,), r"input [1, 3, 16, 12]"),
    ],
)
def test_a_network_with_other_ends_than_its_graph_is_no_engine(
    tmp_path: Path, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...], found: str
) -> None:
    graph = write_network(tmp_path / "m.onnx", "batch")
    if not found:
        check_declared(graph, Declared(inputs, outputs))
        return
    with pytest.raises(ConversionError) as raised:
        check_declared(graph, Declared(inputs, outputs))
    assert found in raised.value.found


@pytest.mark.parametrize(
    ("facts", "backend"),
    [
        (None, "tensorrt"),
        ({"tensorrt": "11.4.0"}, "tensorrt"),
        ({"tensorrt-rtx": "1.7.1.116"}, "tensorrt-rtx"),
    ],
)
def test_an_engine_is_of_the_backend_that_built_it(
    tmp_path: Path, facts: dict[str, str] | None, backend: str
) -> None:
    engine = tmp_path / "end2end.engine"
    engine.write_bytes(b"plan")
    if facts:
        engine.with_name(BUILD_FILE).write_text(json.dumps(facts))
    assert backend_files(engine).row.name == backend
