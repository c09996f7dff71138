"""MMDeploy 1.3.1 as the implementation under test, in an interpreter of its own.

    --subject 'poseconform.subject.mmdeploy:MMDeploy?python=FILE&checkout=FOLDER'

Each cell is converted with `tools/deploy.py` and the deploy config of the checkout, as its
documentation has it. Models and weights are those of `posedeploy`'s zoo, in files that both read.
Files are run, and images warped, in the judge's own interpreter: nothing that MMDeploy's OpenCV
warps is compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from poseconform.isolation.artifacts import ArtifactCache, content_key, tree_sha256
from poseconform.matrix.cells import Cell, Flow
from poseconform.subject.mmpose_models import config_text
from poseconform.subject.posedeploy_subject import PosedeploySubject
from poseconform.subject.protocol import Conversion, NotConvertibleError
from poseconform.subject.warping import comparison, own_warp, warp_of
from posedeploy.paths import file_sha256
from posedeploy.runtime import Availability, Code

DEPLOY, CONFIGS, IMAGE = "tools/deploy.py", "configs/mmpose", "demo/resources/human-pose.jpg"
PROBE_SECONDS = 120.0  # imports torch and each backend; 10 s where nothing else runs
ON_DEVICE = ("tensorrt",)  # `tools/deploy.py` refuses --device cpu for these
# Run in MMDeploy's interpreter; prints one line of JSON. `get_backend_manager` is 1.3.1's own.
PROBE = """
import importlib.metadata, json, sys
import mmdeploy
from mmdeploy.backend.base import get_backend_manager
def works(name):
    try:
        return bool(get_backend_manager(name).is_available())
    except Exception:
        return False
def versions(names):
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
print(json.dumps({"mmdeploy": mmdeploy.__version__, "python": sys.version.split()[0],
                  "backends": [n for n in sys.argv[1].split(",") if works(n)],
                  "packages": dict(versions(sys.argv[2].split(",")))}))
"""
PACKAGES = ("mmpose", "mmcv", "mmdet", "mmengine", "torch", "numpy", "onnx", "onnxruntime")

# ---- modify this table where another version of MMDeploy has other configs -------------------
# Those of 1.3.1's configs/mmpose whose backend is in `posedeploy.runtime.BACKENDS`.
DEPLOY_CONFIGS = (
    "pose-detection_ncnn-int8_static-256x256",
    "pose-detection_ncnn_static-256x192",
    "pose-detection_ncnn_static-256x256",
    "pose-detection_onnxruntime-fp16_static",
    "pose-detection_onnxruntime_static",
    "pose-detection_openvino_static-256x192",
    "pose-detection_openvino_static-256x256",
    "pose-detection_pplnn_static-256x192",
    "pose-detection_rtmo_onnxruntime_dynamic",
    "pose-detection_rtmo_tensorrt-fp16_dynamic-640x640",
    "pose-detection_simcc_coreml_static-256x192",
    "pose-detection_simcc_ncnn-fp16_static-256x192",
    "pose-detection_simcc_ncnn_static-256x192",
    "pose-detection_simcc_onnxruntime-fp16_dynamic",
    "pose-detection_simcc_onnxruntime_dynamic",
    "pose-detection_simcc_openvino_static-256x192",
    "pose-detection_simcc_tensorrt-fp16_dynamic-256x192",
    "pose-detection_simcc_tensorrt_dynamic-256x192",
    "pose-detection_tensorrt-fp16_static-256x192",
    "pose-detection_tensorrt-int8_static-256x192",
    "pose-detection_tensorrt_dynamic-256x192",
    "pose-detection_tensorrt_static-256x192",
    "pose-detection_tensorrt_static-256x256",
    "pose-detection_torchscript",
    "pose-detection_yolox-pose_onnxruntime_dynamic",
    "pose-detection_yolox-pose_openvino_dynamic-640x640",
    "pose-detection_yolox-pose_tensorrt_dynamic-640x640",
)
# ----------------------------------------------------------------------------------------------


class DeployError(RuntimeError):
    """`tools/deploy.py` failed at a stage, 'export' or 'convert'; its log is the child's."""

    def __init__(self, stage: str, code: int, written: Sequence[str]) -> None:
        found = ", ".join(written) or "no file of a model"
        super().__init__(f"{DEPLOY} ended with exit code {code} and wrote {found}; see its log")
        self.stage = stage


@dataclass(frozen=True)
class MMDeploy(PosedeploySubject):
    """MMDeploy in its own interpreter.

    Attributes:
        python: Its interpreter, which imports `mmdeploy`, `mmpose` and the backends.
        checkout: Its source, with `tools/` and `configs/`, which its wheel does not have.
    """

    name: ClassVar[str] = "mmdeploy"
    house_rules: ClassVar[bool] = False
    python: str = field(default="", kw_only=True)
    checkout: str = field(default="", kw_only=True)

    def flows(self, more: Sequence[str] = ()) -> tuple[Flow, ...]:
        """Those of MMDeploy's deploy configs; its graphs of detectors hold the suppression."""
        wanted = {*DEPLOY_CONFIGS, *(word.removesuffix(".py") for word in more)}
        return tuple(
            replace(flow, host_suppression=False)
            for flow in super().flows(more)
            if flow.deploy_config in wanted or flow.is_file
        )

    def conversion_availability(self, backend: str) -> Availability:
        """Whether MMDeploy's interpreter is there and has the backend."""
        if self._missing:
            return Availability(Code.TOOL_MISSING, self._missing)
        if backend not in self._probed["backends"]:
            return Availability(Code.NOT_INSTALLED, f"{self.python} has no {backend} for MMDeploy")
        return Availability(Code.AVAILABLE, "", self._probed["mmdeploy"])

    def missing_tools(self, backend: str) -> tuple[str, ...]:
        """Why it cannot convert for a backend, in words that stand for a name."""
        converting = self.conversion_availability(backend)
        return () if converting.ok else (f"MMDeploy ({converting.reason})",)

    def builds_for_device(self, backend: str) -> bool:
        """True for TensorRT."""
        return backend in ON_DEVICE

    def versions(self) -> Mapping[str, str]:
        """Of this interpreter and of MMDeploy's, and what may be compared between the two."""
        compared = {} if self._missing else {"mmdeploy: compared": self._compared}
        return {**super().versions(), **self._theirs, **compared}

    def convert(
        self, cell: Cell, checkpoint: str, exporter: str, cache: ArtifactCache
    ) -> Conversion:
        """Run `tools/deploy.py --dump-info`, or take the folder from the cache."""
        config = self._deploy_config(cell, exporter)
        sha256 = file_sha256(Path(checkpoint))
        root = Path(self.checkout)
        sources = ("configs", "mmdeploy", "tools")
        parts = {
            "model_config": config_text(cell.model.config), "checkpoint": sha256,
            "deploy_config": config.read_text(encoding="utf-8"),
            "source": {name: tree_sha256(root / name) for name in sources},
            "versions": self._theirs,
        }  # fmt: skip

        def make(folder: Path) -> dict[str, object]:
            started = time.perf_counter()
            self._deploy(config, cell, checkpoint, folder / "sdk")
            return {"seconds": round(time.perf_counter() - started, 3)}

        entry = cache.get_or_make(content_key("mmdeploy", parts), make)
        files = {name.removeprefix("sdk/"): value for name, value in entry.files.items()}
        facts = {**entry.facts, "made": entry.made}
        return Conversion(entry.path / "sdk", files, {"seconds": 0.0, "made": True}, facts, sha256)

    def _deploy_config(self, cell: Cell, exporter: str) -> Path:
        """The deploy config's file; a `NotConvertibleError` for a cell that MMDeploy lacks."""
        flow = cell.flow
        path = Path(self.checkout, CONFIGS, f"{flow.deploy_config}.py")
        path = Path(flow.deploy_config) if flow.is_file else path
        for wrong, reason in (
            (self._missing, self._missing),
            (exporter == "dynamo", "MMDeploy exports with TorchScript's exporter alone"),
            (flow.precision == "int8", "MMDeploy calibrates int8 with a data set, which the "
             "judge does not give it"),
            (not path.is_file(), f"MMDeploy has no deploy config {path}"),
        ):  # fmt: skip
            if wrong:
                raise NotConvertibleError(reason)
        return path.resolve()

    def _deploy(self, config: Path, cell: Cell, checkpoint: str, folder: Path) -> None:
        device = "cuda:0" if cell.flow.backend in ON_DEVICE else "cpu"
        root = Path(self.checkout).resolve()
        model, weights = Path(cell.model.config).resolve(), Path(checkpoint).resolve()
        folder = folder.resolve()
        words = (root / DEPLOY, config, model, weights, root / IMAGE, "--work-dir", folder)
        folder.mkdir()
        done = subprocess.run(
            [self._interpreter, *map(str, words), "--device", device, "--dump-info"],
            cwd=folder.parent, env=_environment(), stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        written = sorted(path.name for path in folder.glob("end2end*"))
        if done.returncode or not written:
            raise DeployError("convert" if written else "export", done.returncode, written)

    @property
    def _interpreter(self) -> str:
        """Its path; a link is not followed, for it names a virtual environment."""
        return str(Path(shutil.which(self.python) or self.python).absolute())

    @cached_property
    def _missing(self) -> str:
        """What of MMDeploy is not there; '' if all is."""
        for name, value in (("python", self.python), ("checkout", self.checkout)):
            if not value:
                return f"no {name}: add ?python=FILE&checkout=DIR to --subject"
        for name in (DEPLOY, CONFIGS, IMAGE):
            if not Path(self.checkout, name).exists():
                return f"checkout={self.checkout}: found no {name}"
        return str(self._probed.get("error", ""))

    @property
    def _theirs(self) -> dict[str, str]:
        """Versions of MMDeploy's interpreter."""
        if self._missing:
            return {"mmdeploy": "none"}
        packages = {"python": self._probed["python"], **self._probed["packages"]}
        named = {f"mmdeploy: {name}": version for name, version in packages.items()}
        return {"mmdeploy": self._probed["mmdeploy"], **named}

    @cached_property
    def _probed(self) -> dict[str, Any]:
        """Versions and backends of MMDeploy's interpreter; 'error' alone if it has no MMDeploy."""
        backends = ",".join(sorted({flow.backend for flow in self.flows()}))
        try:
            done = subprocess.run(
                [self._interpreter, "-c", PROBE, backends, ",".join(PACKAGES)],
                capture_output=True, text=True, timeout=PROBE_SECONDS, check=False,
                env=_environment(),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"error": f"python={self.python}: {error}"}
        try:
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):  # it ended before it printed the line
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"python={self.python}: it cannot import MMDeploy: {last}"}
        return answer

    @cached_property
    def _compared(self) -> str:
        try:
            return comparison(own_warp(), warp_of([self._interpreter]), "MMDeploy's interpreter")
        except LookupError as error:
            return f"network inputs only: MMDeploy's interpreter has no OpenCV ({error})"


def _environment() -> dict[str, str]:
    """This process's environment without what is for its own Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
