"""The documented Python API."""

from posedeploy.apis.deploying import Deployment, deploy

__all__ = ["Deployment", "deploy"]
