"""The documented Python API."""

from posedeploy.apis.comparing import compare
from posedeploy.apis.deploying import Deployment, convert_exported, deploy
from posedeploy.apis.exporting import export

__all__ = ["Deployment", "compare", "convert_exported", "deploy", "export"]
