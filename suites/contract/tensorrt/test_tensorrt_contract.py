"""The adapter against the real API of each TensorRT version, without a device."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from posedeploy.apis.sources import resolve_checkpoint

from .api import read_api
from .conftest import ROOT, Bindings, Outcomes
from .scenarios import SCENARIOS

ADAPTER = (
    "src/posedeploy/convert/tensorrt.py",
    "src/posedeploy/runtime/tensorrt.py",
)
# Members that no run may do without, besides what the scenarios see of their effect
CALLED = {
    "Builder.build_serialized_network", "IBuilderConfig.clear_flag",
    "IBuilderConfig.set_timing_cache", "IExecutionContext.execute_async_v3",
    "IExecutionContext.set_input_shape", "IExecutionContext.set_output_allocator",
    "IOptimizationProfile.set_shape", "Runtime.deserialize_cuda_engine",
}  # fmt: skip
MYPY = """
[mypy]
strict = True
warn_unused_ignores = False
explicit_package_bases = True
namespace_packages = True
ignore_missing_imports = True
follow_imports = silent
[mypy-tensorrt]
ignore_errors = True
"""
# What 11 has no more, what no version has, and a wrong type
WRONG = """
import tensorrt as trt
def f(config: trt.IBuilderConfig, engine: trt.ICudaEngine) -> None:
    config.set_flag(trt.BuilderFlag.FP16)
    config.max_workspace_size = 1
    engine.get_tensor_name("input")
"""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_builds_and_runs(outcomes: Outcomes, scenario: str) -> None:
    assert scenario not in outcomes.failures, outcomes.failures[scenario]


def test_nothing_important_was_left_out(outcomes: Outcomes) -> None:
    assert outcomes.called >= CALLED, CALLED - outcomes.called


def check_types(bindings: Bindings, folder: Path, *files: str) -> list[str]:
    """Errors of mypy in these files, with this version's types."""
    config = folder / "mypy.ini"
    config.write_text(MYPY)
    path = f"{bindings.stub.parents[1]}:{ROOT / 'src'}"
    environment = {**bindings.environment, "MYPYPATH": path}
    command = ("-m", "mypy", "--config-file", str(config), "--cache-dir",
               str(bindings.stub.parents[1] / "mypy-cache"), *files)  # fmt: skip
    done = Bindings(bindings.version, bindings.stub, environment).run(*command)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_the_adapter_has_the_types_of_this_version(bindings: Bindings, tmp_path: Path) -> None:
    assert check_types(bindings, tmp_path, *ADAPTER) == []


def test_a_wrong_adapter_would_not_pass(bindings: Bindings, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    errors = check_types(bindings, tmp_path, str(wrong))
    gone = bindings.version.startswith("11.")
    assert len(errors) == 2 + gone, errors
    assert any("get_tensor_name" in error for error in errors)
    assert any('"FP16"' in error for error in errors) is gone


def test_the_stubs_are_of_this_version(bindings: Bindings) -> None:
    api = read_api(bindings.stub)
    assert api["IOptimizationProfile"]["set_shape"].overloads == (("input", "min", "opt", "max"),)
    assert ("int8_calibrator" in api["IBuilderConfig"]) is bindings.version.startswith("10.")
    assert ("get_aliased_input_tensor" in api["ICudaEngine"]) is (bindings.version != "10.0.1")


def test_a_fake_that_a_version_lacks_cannot_be_used(bindings: Bindings) -> None:
    code = (
        "import sys, tensorrt_bindings as real\n"
        f"from {__package__} import api, fakes\n"
        "m = fakes.install(real, api.read_api(__import__('pathlib').Path(sys.argv[1])), [])\n"
        "class Logger(m.ILogger):\n"
        "    def log(self, severity, msg): pass\n"
        "config = m.Builder(Logger()).create_builder_config()\n"
        "for name in ('int8_calibrator', 'max_workspace_size'):\n"
        "    try:\n"
        "        setattr(config, name, None)\n"
        "        print(name)\n"
        "    except AttributeError:\n"
        "        pass\n"
        "print(hasattr(m.ICudaEngine, 'get_aliased_input_tensor'))\n"
    )
    done = bindings.run("-c", code, str(bindings.stub))
    settable = ["int8_calibrator"] if bindings.version.startswith("10.") else []
    assert done.stdout.split() == [*settable, str(bindings.version != "10.0.1")], done.stderr


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ({}, "available", ""),
        ({"STAND_IN_CUINIT": "100"}, "no-device", "stand-in error (error 100)"),
        ({"STAND_IN_CUINIT": "803"}, "no-driver", "stand-in error (error 803)"),
        ({"STAND_IN_CUINIT": "-1"}, "no-driver", "killed by signal 6"),
        ({"STAND_IN_DEVICES": "0"}, "no-device", "shows no device"),
    ],
)
def test_the_driver_is_asked_through_its_library(
    bindings: Bindings, answers: dict[str, str], code: str, words: str
) -> None:
    asking = ("-c", "import dataclasses, json; from posedeploy.runtime.host import *; "
              "print(json.dumps(dataclasses.asdict(cuda_devices())))")  # fmt: skip
    environment = {**bindings.environment, **answers}
    done = Bindings(bindings.version, bindings.stub, environment).run(*asking)
    found = json.loads(done.stdout)
    assert found["code"] == code, done.stderr
    assert words in found["reason"]
    if code == "available":
        assert found["devices"] == [{"name": "Stand-in GPU", "compute_capability": "9.0"}]
        assert found["driver"] == "13.0"


def test_the_runtime_library_of_cuda_13_is_found_in_its_wheel(
    bindings: Bindings, stand_ins: Path, tmp_path: Path
) -> None:
    """It lies where Polygraphy does not look."""
    place = tmp_path / "nvidia" / "cu13" / "lib"
    place.mkdir(parents=True)
    (place / "libcudart.so.13").symlink_to(stand_ins / "libcudart.so.13")
    code = (
        "from posedeploy.runtime.tensorrt import prepare_process, use_device\n"
        "prepare_process()\nuse_device(0)\n"
        "from polygraphy import cuda\nprint(cuda.wrapper().handle._name)\n"
    )
    environment = {**bindings.environment, "LD_LIBRARY_PATH": "", "PYTHONPATH": str(tmp_path)}
    done = Bindings(bindings.version, bindings.stub, environment).run("-c", code)
    assert done.stdout.strip() == str(place / "libcudart.so.13"), done.stderr
    assert sys.executable in done.args


@pytest.mark.parametrize("bindings", ["10.0.1", "11.4.0"], indirect=True)
@pytest.mark.parametrize(
    ("model", "flow", "other", "component"),
    [
        ("simcc_mobilenetv2", "simcc_tensorrt_dynamic-256x192", "simcc_onnxruntime_dynamic",
         "SimCCLabelDecode"),
        ("rtmo_t", "rtmo_tensorrt_dynamic-416x416", "rtmo_onnxruntime_dynamic",
         "YOLOXPoseHostDetections"),
        ("rtmo_t", "rtmo_tensorrt-nms_dynamic-416x416", "rtmo_onnxruntime_dynamic",
         "RTMODetections"),
    ],
)  # fmt: skip
def test_a_whole_deployment_finds_what_another_backend_finds(
    bindings: Bindings, tmp_path: Path, model: str, flow: str, other: str, component: str
) -> None:
    flows = [f"pose-detection_{name}" for name in (flow, other)]
    checkpoint = str(resolve_checkpoint(model, None))
    command = ("-m", f"{__package__}.deployments", str(bindings.stub), str(tmp_path))
    done = bindings.run(*command, model, checkpoint, *flows)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["component"] == component
    assert {"end2end.engine", "end2end.engine.json", "deploy.json"} <= set(found["files"])
    assert found["people"][0] == found["people"][1] >= 1
    assert 0 <= found["apart_px"] < 0.1
