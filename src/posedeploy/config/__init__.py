"""Deploy configs and MMPose configs as typed values."""

from posedeploy.config.classes import class_count, class_meta
from posedeploy.config.deploy_config import (
    EXPORTERS,
    ORDER,
    CalibrationSettings,
    DeployConfig,
    NmsSettings,
    deploy_config_from,
    deploy_config_text,
    find_deploy_config,
    is_deploy_config_name,
    load_deploy_config,
    read_deploy_config,
)
from posedeploy.config.files import config_root
from posedeploy.config.listing import list_deploy_configs
from posedeploy.config.model_config import (
    FAMILIES,
    ModelConfig,
    load_model_config,
    model_config_from,
)
from posedeploy.config.naming import DeployConfigName, parse_name
from posedeploy.config.type_names import type_name

__all__ = [
    "EXPORTERS", "FAMILIES", "ORDER", "CalibrationSettings", "DeployConfig", "DeployConfigName",
    "ModelConfig", "NmsSettings", "class_count", "class_meta", "config_root",
    "deploy_config_from", "deploy_config_text", "find_deploy_config", "is_deploy_config_name",
    "list_deploy_configs", "load_deploy_config", "load_model_config", "model_config_from",
    "parse_name", "read_deploy_config", "type_name",
]  # fmt: skip
