"""The documented Python API."""

from .deploying import Deployment, deploy

__all__ = ["Deployment", "deploy"]
