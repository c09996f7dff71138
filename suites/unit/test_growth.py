"""A new head kind and a new backend are rows and two modules each; no other file knows them.

A copy of the source tree gets the rows and modules of `fixtures/growth`, and the suites judge a
cell of each there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROWTH = ROOT / "fixtures" / "growth"
COPIED = ("conftest.py", "deploy_configs", "fixtures", "pytest.ini", "src")
SUITES = ("conversion", "expectations", "parity", "sdk_model")
# File with a table -> (the line that the table begins with, the row)
Rows = Mapping[str, tuple[str, str]]
HEAD_ROWS: Rows = {
    "posedeploy/heads.py": (
        "HEADS: tuple[HeadSpec, ...] = (",
        """HeadSpec("coordinates", "coordinates", ("CenterOfMassHead",), True,
            "posedeploy.export.coordinates:build",
            (Stage("whole", (Output("coordinates", ("N", 1, "K", 2)),), "CoordinateDecode",
                   "posedeploy.sdk.decode.coordinates:build"),),
            codecs=("CenterOfMassLabel",)),""",
    ),
    "posedeploy/codecs.py": (
        "CODECS: tuple[CodecSpec, ...] = (",
        """CodecSpec("CenterOfMassLabel", (Parameter("input_size"),)),""",
    ),
    "poseconform/reference/heads.py": (
        "REFERENCE_HEADS: tuple[ReferenceHead, ...] = (",
        """ReferenceHead("coordinates", ("coordinates",), TopDown(
            lambda out: (out,),
            lambda _, outputs: (np.full(outputs["coordinates"].shape[:3:2], np.inf),) * 2)),""",
    ),
}
HEAD_MODULES = {
    "export_module.py": "posedeploy/export/coordinates.py",
    "decoder.py": "posedeploy/sdk/decode/coordinates.py",
}
BACKEND_ROWS: Rows = {
    "posedeploy/runtime/registry.py": (
        "BACKENDS: tuple[BackendSpec, ...] = (",
        """BackendSpec("echo", "Echo", 99, ("numpy",), "1.0", "end2end.echo", "", (CPU,),
            (FP32,), "onnx", runtime="posedeploy.runtime.echo",
            converter="posedeploy.convert.echo"),""",
    ),
}
BACKEND_MODULES = {
    "runtime_module.py": "posedeploy/runtime/echo.py",
    "converter.py": "posedeploy/convert/echo.py",
}
NAME = "pose-detection_coordinates"
MAKE_CHECKPOINT = """
import sys, torch
from posedeploy.config import load_model_config
from posedeploy.zoo.build import build_model
torch.manual_seed(0)
model = build_model(load_model_config(sys.argv[1]), None)
torch.nn.init.normal_(model.head.maps.weight, std=0.3)
torch.save({"meta": {"dataset_meta": model.dataset_meta}, "state_dict": model.state_dict()}, sys.argv[2])
"""  # noqa: E501 - a program


def grown_tree(folder: Path, rows: Rows, modules: Mapping[str, str]) -> Path:
    """A copy of the project in `folder` with more rows and modules."""
    folder.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*COPIED, *(f"suites/{suite}" for suite in SUITES)):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copyfile(source, folder / name)
    for name, (start, row) in rows.items():
        path = folder / "src" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(f"{start}\n") == 1, f"{name} has no table {start}"
        path.write_text(text.replace(start, f"{start}\n    {row}"), encoding="utf-8")
    for name, place in modules.items():
        shutil.copyfile(GROWTH / name, folder / "src" / place)
    return folder


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = (str(tree / "src"), str(tree), str(GROWTH))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=env, text=True, capture_output=True, check=False,
        timeout=600,
    )  # fmt: skip


def judged(tree: Path, *options: str) -> list[dict[str, object]]:
    """The cells that ran, as `results.json` has them."""
    suites = [f"suites/{name}" for name in SUITES if name != "expectations"]
    cache = f"--artifact-cache={tree / 'cache'}"
    done = run(tree, "-m", "pytest", *suites, "-q", cache, "--report-dir=out", *options)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cells = json.loads((tree / "out" / "results.json").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["outcome"] != "not-selected"]


def of(cells: Sequence[dict[str, object]], *fields: str) -> list[list[object]]:
    return [[cell[field] for field in fields] for cell in cells]


def test_a_head_kind_and_a_backend_are_rows_and_two_modules_each(tmp_path: Path) -> None:
    """In one tree and one run, which takes two thirds of two; no cell has both of them."""
    rows, modules = {**HEAD_ROWS, **BACKEND_ROWS}, {**HEAD_MODULES, **BACKEND_MODULES}
    tree = grown_tree(tmp_path / "tree", rows, modules)
    config, checkpoint = tree / "center_of_mass.py", tree / "center_of_mass.pth"
    shutil.copyfile(GROWTH / "model_config.py", config)
    made = run(tree, "-c", MAKE_CHECKPOINT, str(config), str(checkpoint))
    assert made.returncode == 0, made.stderr
    cells = judged(
        tree, "--models=rtmpose_t", f"--model-config={config}",
        f"--checkpoint={config.stem}={checkpoint}",
        "-m", "(rtmpose and echo) or (not rtmpose and onnxruntime and fp32 and dynamic)",
    )  # fmt: skip
    assert sorted(of(cells, "model", "backend", "deploy_config", "outcome")) == [
        ["center_of_mass", "onnxruntime", f"{NAME}_onnxruntime_dynamic", "pass"],
        ["rtmpose_t", "echo", "pose-detection_simcc_echo_dynamic", "pass"],
        ["rtmpose_t", "echo", "pose-detection_simcc_echo_static", "pass"],
    ]
    assert all(cell["sdk_client_error_px"] is not None for cell in cells)


def test_without_its_row_a_head_kind_is_refused(tmp_path: Path) -> None:
    rows = {name: row for name, row in HEAD_ROWS.items() if name != "posedeploy/heads.py"}
    tree = grown_tree(tmp_path / "tree", rows, HEAD_MODULES)
    done = run(
        tree, "-m", "posedeploy", "configs", "show", "pose-detection_coordinates_ncnn_static"
    )
    assert done.returncode == 2
    assert "coordinates" in done.stderr


@pytest.mark.parametrize("word", ["coordinates", "CenterOfMass", "echo"])
def test_no_other_file_knows_them(word: str) -> None:
    tables = {ROOT / "src" / name for name in (*HEAD_ROWS, *BACKEND_ROWS)}
    others = [p for p in (ROOT / "src").rglob("*.py") if p not in tables]
    assert [p.name for p in others if f'"{word}"' in p.read_text(encoding="utf-8")] == []
