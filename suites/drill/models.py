"""The SDK model folders that the drill damages: two small models on every backend of a CPU.

They are converted once and kept in the artifact cache. Each has a sibling with other weights.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKENDS = ("onnxruntime", "openvino", "ncnn", "torchscript")
HEADS = {"simcc": "rtmpose_t", "yolox-pose": "yoloxpose_tiny"}
IMAGE: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (128, 96, 3), np.uint8)
BOXES = [[5, 5, 80, 120], [-9, 0, 99, 130]]


@dataclass(frozen=True)
class Base:
    """A whole folder: `head` on `backend`."""

    head: str
    backend: str

    @property
    def name(self) -> str:
        """Its folder in the arena."""
        return f"{self.head}_{self.backend}"

    @property
    def deploy_config(self) -> str:
        """The name of its deploy config."""
        size = "96x64" if self.head == "simcc" else "96x96"
        return f"pose-detection_{self.head}_{self.backend}_static-{size}"


BASES = tuple(Base(head, backend) for head in HEADS for backend in BACKENDS)


def sibling(base: Base) -> str:
    """The folder with the same graph and other weights."""
    return f"{base.name}_other"


def fill(folder: Path) -> Mapping[str, object]:
    """Convert all bases; configs and checkpoints stay beside them."""
    from fixtures.tiny_models import make_tiny
    from posedeploy.apis import deploy
    from posedeploy.config import load_model_config
    from posedeploy.synthetic.weights import checkpoint_for

    for head, model in HEADS.items():
        tiny = make_tiny(model, folder)
        config = load_model_config(tiny.config)
        for seed, suffix in ((0, ""), (1, "_other")):
            made = checkpoint_for(config, folder, seed=seed)
            checkpoint = shutil.copyfile(made, folder / f"{head}{suffix}.pth")
            for base in (base for base in BASES if base.head == head):
                deploy(
                    base.deploy_config, tiny.config, checkpoint, folder / f"{base.name}{suffix}"
                )
    shutil.rmtree(folder / "weights")
    return {}


def make(cache: str) -> str:
    """The arena in the artifact cache, made if needed (in a child process: it loads torch)."""
    from poseconform.isolation.artifacts import ArtifactCache, content_key, tree_sha256
    from suites.drill.harness import ROOT

    parts = {
        "source": tree_sha256(ROOT / "src" / "posedeploy"),
        "models": Path(__file__).read_text(),
    }
    return str(ArtifactCache(Path(cache)).get_or_make(content_key("drill", parts), fill).path)


def config_of(arena: Path, head: str) -> Path:
    """The model config of a head."""
    return arena / f"tiny_{HEADS[head]}.py"


def keypoints(folder: Path, head: str, **options: Any) -> NDArray[np.float32]:
    """What the SDK's client finds in `IMAGE`; its errors are raised."""
    from posedeploy.sdk import PoseDetector

    with PoseDetector(folder, **options) as detector:
        found: NDArray[np.float32] = detector(IMAGE, BOXES if head == "simcc" else None)
    return found


@functools.cache
def right_keypoints(folder: Path, head: str) -> NDArray[np.float32]:
    """The same of a whole folder, once a process."""
    return keypoints(folder, head)
