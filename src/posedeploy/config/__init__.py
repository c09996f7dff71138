"""Deploy configs and MMPose configs as typed values."""

from posedeploy.config.calibration import CalibrationSettings
from posedeploy.config.deploy_config import (
    EXPORTERS,
    DeployConfig,
    NmsSettings,
    config_root,
    deploy_config_from,
    find_deploy_config,
    list_deploy_configs,
    load_deploy_config,
)
from posedeploy.config.model_config import (
    FAMILIES,
    OTHER_FAMILY,
    ModelConfig,
    load_model_config,
    model_config_from,
)
from posedeploy.config.naming import DeployConfigName, parse_name

__all__ = [
    "EXPORTERS",
    "FAMILIES",
    "OTHER_FAMILY",
    "CalibrationSettings",
    "DeployConfig",
    "DeployConfigName",
    "ModelConfig",
    "NmsSettings",
    "config_root",
    "deploy_config_from",
    "find_deploy_config",
    "list_deploy_configs",
    "load_deploy_config",
    "load_model_config",
    "model_config_from",
    "parse_name",
]
