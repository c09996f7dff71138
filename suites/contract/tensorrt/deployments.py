"""Whole deployments over the fakes of one version.

`python -m … STUB FOLDER MODEL CHECKPOINT TENSORRT_CONFIG OTHER_CONFIG`.

A model is deployed with a TensorRT config and with another backend's, and both SDK model folders
are asked for the keypoints of a drawn figure.  The last line that is printed is JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.apis.deploying import convert_exported
from posedeploy.apis.exporting import export
from posedeploy.apis.sources import resolve_model_config
from posedeploy.config import load_deploy_config, load_model_config
from posedeploy.sdk import PoseDetector
from posedeploy.synthetic.drawn import drawn_figures

from .api import read_api
from .fakes import install


@dataclass(frozen=True)
class Model:
    """A model's name in the zoo, and its checkpoint."""

    name: str
    checkpoint: str


def keypoints(model: Model, flow: str, device: str, folder: Path) -> NDArray[np.float32]:
    """Keypoints of a drawn figure, through an SDK model folder that is made here."""
    config, deploy_config = (
        load_model_config(resolve_model_config(model.name)),
        load_deploy_config(flow),
    )
    exported = folder.with_name(f"{folder.name}-export")
    exported.mkdir()
    folder.mkdir()
    # not `deploy`, which refuses TensorRT where its package is not installed
    graph = export(config, model.checkpoint, deploy_config, exported)
    convert_exported(graph, deploy_config, config, folder)
    figure = next(iter(drawn_figures("evaluation", 1)))
    with PoseDetector(folder, device) as detector:
        return detector(figure.image, figure.bboxes if detector.top_down else None)


def main(stub: Path, folder: Path, model: Model, flows: tuple[str, str]) -> dict[str, Any]:
    """Deploy twice and compare."""
    install(importlib.import_module("tensorrt_bindings"), read_api(stub), [])
    found = keypoints(model, flows[0], "cuda", folder / "tensorrt")
    truth = keypoints(model, flows[1], "cpu", folder / "other")
    tasks = json.loads((folder / "tensorrt" / "pipeline.json").read_text())["pipeline"]["tasks"]
    return {
        "people": [len(found), len(truth)],
        "apart_px": float(np.abs(found - truth).max(initial=0))
        if len(found) == len(truth)
        else -1,
        "files": sorted(path.name for path in (folder / "tensorrt").iterdir()),
        "component": tasks[-1]["component"],
    }


if __name__ == "__main__":
    stub, folder, name, checkpoint, *flows = sys.argv[1:]
    answer = main(Path(stub), Path(folder), Model(name, checkpoint), (flows[0], flows[1]))
    print(json.dumps(answer))
