"""`build_task_processor`, under the name that MMDeploy's users import it by."""

from __future__ import annotations

from typing import Any

from posedeploy.apis.configs import load_config
from posedeploy.apis.deploying import check_device
from posedeploy.apis.exporting import check_fit
from posedeploy.apis.task_processor import PoseDetection
from posedeploy.config import deploy_config_from, model_config_from

__all__ = ["build_task_processor"]


def build_task_processor(model_cfg: Any, deploy_cfg: Any, device: str = "cpu") -> PoseDetection:
    """What builds models, inputs and images for a model config and a deploy config.

    Args:
        model_cfg: `mmengine.config.Config` of the model, a path, or a name.
        deploy_cfg: `mmengine.config.Config` of the deployment, a path, or a name.
        device: Where the backend model is to run: 'cpu', 'cuda', 'cuda:0', …

    Returns:
        The task processor.

    Raises:
        BadInputError: A config is not what it should be, the two do not fit each other (head
            kind or shape), or the backend does not run on the device.
    """
    deploy_config = deploy_config_from(load_config(deploy_cfg)[0])
    model_config = model_config_from(load_config(model_cfg)[0])
    check_fit(deploy_config, model_config)
    check_device(deploy_config, device)
    return PoseDetection(model_config, deploy_config, device)
