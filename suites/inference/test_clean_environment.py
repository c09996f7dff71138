"""`pip install .[onnxruntime]` and an SDK model folder are enough; no torch, no mmpose.

Part of `tox -e clients`: it needs what pip downloads.
"""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fixtures.images import photograph
from fixtures.tiny_models import TinyModel
from posedeploy.apis.deploying import deploy
from posedeploy.sdk import PoseDetector

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 300.0
# Padded by 1.25 it is a region of the tiny model's input, 64 x 96 px at (30, 40): nothing is
# resampled, for the OpenCV that pip installs may warp otherwise than the one here.
BOX = [36.4, 49.6, 87.6, 126.4]
FORBIDDEN = ("mmcv", "mmengine", "mmpose", "torch")
PROGRAM = """
import importlib.util, json, sys
import cv2
import posedeploy
from posedeploy.sdk import PoseDetector
folder, image, box, names = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
with PoseDetector(folder) as detector:
    keypoints = detector(cv2.imread(image), box)
    names_of_keypoints = detector.dataset_meta.keypoint_names
print(json.dumps({
    "keypoints": keypoints.tolist(),
    "names": names_of_keypoints,
    "package": posedeploy.__file__,
    "imported": [name for name in names if name in sys.modules],
    "importable": [name for name in names if importlib.util.find_spec(name)],
}))
"""


def pip(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *words]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
        env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with this project and nothing else in it."""
    root = tmp_path_factory.mktemp("clean")
    venv.create(root / "env", with_pip=True)
    python = root / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # What building needs shows whether there is a network; whatever fails after that is ours.
    trial = pip(python, "download", "--no-deps", "--dest", str(root), "hatchling==1.28.0")
    if trial.returncode != 0:
        said = (trial.stderr.strip() or "pip said nothing").splitlines()[-1]
        reason = f"unavailable:no-network: {said}"
        if os.environ.get("POSECONFORM_REQUIRE_CLIENTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    done = pip(python, "install", "--quiet", f"{ROOT}[onnxruntime]")
    assert done.returncode == 0, done.stderr
    return python


def test_keypoints_from_the_folder_alone(
    clean_python: Path, tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    tiny, image = tiny_model("rtmpose_t"), tmp_path / "astronaut.png"
    folder = tmp_path / "sdk"
    deploy("pose-detection_simcc_onnxruntime_static", tiny.config, tiny.checkpoint, folder)
    cv2.imwrite(str(image), photograph("astronaut"))
    words = [str(folder), str(image), json.dumps(BOX), json.dumps(FORBIDDEN)]
    done = subprocess.run(
        [str(clean_python), "-I", "-c", PROGRAM, *words],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["imported"], said["importable"]) == ([], [])
    assert Path(said["package"]).is_relative_to(clean_python.parents[1])
    assert said["names"][0] == "nose"
    here = PoseDetector(folder)(photograph("astronaut"), BOX)
    assert here.shape == (1, 17, 3)
    # the newest onnxruntime that the extra allows may be another than the one here
    np.testing.assert_allclose(np.array(said["keypoints"]), here, atol=1e-3)


def test_the_command_line_runs_and_names_what_it_lacks(clean_python: Path, tmp_path: Path) -> None:
    words = ["-m", "posedeploy", "validate", str(tmp_path)]
    done = subprocess.run(
        [str(clean_python), "-I", *words],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "deploy.json" in done.stdout
    assert "Traceback" not in done.stderr
