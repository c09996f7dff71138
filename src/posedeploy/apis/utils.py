"""Configs by path or name, and the task processor: what MMDeploy's users import by these names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posedeploy.apis.deploying import check_device
from posedeploy.apis.exporting import check_fit
from posedeploy.apis.sources import resolve_model_config
from posedeploy.apis.task_processor import PoseDetection
from posedeploy.config import (
    deploy_config_from,
    is_deploy_config_name,
    model_config_from,
    read_deploy_config,
)
from posedeploy.config.files import read_config
from posedeploy.errors import BadInputError


def load_config(*args: Any) -> list[Any]:
    """Read configs.

    Args:
        *args: Each a path; the name of a deploy config of this project; the name of a model in
            the zoo, or of a config file that mmpose ships; or an `mmengine.config.Config` that was
            read before. Where there is no such file, MMDeploy's `configs/mmpose/NAME.py` stands
            for the deploy config of that name, and a path that ends like one in mmpose's
            `configs/` for the config there.

    Returns:
        One `mmengine.config.Config` an argument, in order.

    Raises:
        BadInputError: One is none of these, or its file is no MMEngine config.

    Example:
        >>> from posedeploy.utils import load_config
        >>> deploy_cfg, model_cfg = load_config("pose-detection_onnxruntime_static", "hrnet_w32")
        >>> deploy_cfg.backend_config.type
        'onnxruntime'
    """
    return [_read(a) if isinstance(a, str | Path) else a for a in args]


def get_input_shape(deploy_cfg: Any) -> list[int] | None:
    """The shape that a deploy config (a path, a name or a `Config`) fixes: `[W, H]` in input px.

    None where the config leaves it to the model.
    """
    shape = deploy_config_from(load_config(deploy_cfg)[0]).input_shape
    return None if shape is None else list(shape)


def _read(name_or_path: str | Path) -> Any:
    path = Path(name_or_path)
    if path.is_file():
        return read_config(path, "config")
    name = str(path)
    if is_deploy_config_name(name):
        return read_deploy_config(name)
    try:
        path = resolve_model_config(name)
    except BadInputError as error:
        raise BadInputError(
            f"config {name_or_path}", "no such file and no such name",
            "a path, the name of a deploy config, or the name of a model",
            "`posedeploy configs list` and `posedeploy zoo list` show the names.",
        ) from error  # fmt: skip
    return read_config(path, "config")


def build_task_processor(model_cfg: Any, deploy_cfg: Any, device: str = "cpu") -> PoseDetection:
    """What builds models, inputs and images for a model config and a deploy config.

    Args:
        model_cfg: `mmengine.config.Config` of the model, a path, or a name.
        deploy_cfg: `mmengine.config.Config` of the deployment, a path, or a name.
        device: Where the backend model is to run: 'cpu', 'cuda', 'cuda:0', …

    Raises:
        BadInputError: A config is not what it should be, the two do not fit each other (head
            kind or shape), or the backend does not run on the device.
    """
    deploy_config = deploy_config_from(load_config(deploy_cfg)[0])
    model_config = model_config_from(load_config(model_cfg)[0])
    check_fit(deploy_config, model_config)
    check_device(deploy_config, device)
    return PoseDetection(model_config, deploy_config, device)
