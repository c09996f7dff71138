"""The documented Python API."""

from posedeploy.apis.artifacts import ArtifactComparison, StageVerdict, compare_artifact
from posedeploy.apis.comparing import compare
from posedeploy.apis.deploying import Deployment, convert_exported, deploy
from posedeploy.apis.exporting import export
from posedeploy.apis.inference import inference_model
from posedeploy.apis.measuring import RangeReport, model_ranges
from posedeploy.apis.utils import build_task_processor

__all__ = [
    "ArtifactComparison", "Deployment", "RangeReport", "StageVerdict", "build_task_processor",
    "compare", "compare_artifact", "convert_exported", "deploy", "export", "inference_model",
    "model_ranges",
]  # fmt: skip
