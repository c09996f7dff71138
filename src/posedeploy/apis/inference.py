"""`inference_model` of MMDeploy's documented Python API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posedeploy.apis.utils import build_task_processor, get_input_shape, load_config
from posedeploy.sdk.reading import ImageSource


def inference_model(
    model_cfg: Any,
    deploy_cfg: Any,
    backend_files: Sequence[str | Path] | str | Path,
    img: ImageSource | Sequence[ImageSource],
    device: str,
) -> list[Any]:
    """Run a backend's files on images, with mmpose's own code around the network.

    Args:
        model_cfg: As `build_task_processor` takes it.
        deploy_cfg: Likewise: the one that the files were made with.
        backend_files: The backend's files, the main one first.
        img: An image or several, paths or `[H, W, 3]` uint8 arrays in BGR; top-down models take
            each as one box.
        device: Where to run: 'cpu', 'cuda:0', …

    Returns:
        One `PoseDataSample` an image, keypoints and boxes in image px.

    Raises:
        BadInputError: A config, a file or an image is not what it should be, or they do not fit.
        UnavailableError: The backend cannot run here.
    """
    import torch

    deploy_config, model_config = load_config(deploy_cfg, model_cfg)
    processor = build_task_processor(model_config, deploy_config, device)
    model = processor.build_backend_model(backend_files)
    inputs, _ = processor.create_input(img, get_input_shape(deploy_config))
    with torch.no_grad():
        results: list[Any] = model.test_step(inputs)
    return results
