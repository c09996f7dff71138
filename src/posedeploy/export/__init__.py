"""MMPose models → intermediate representations that backends read."""

from posedeploy.export.detection import detection_settings
from posedeploy.export.module import ExportableModule, exportable_module
from posedeploy.export.representations import host_work, write_graph
from posedeploy.export.writer import export_onnx

__all__ = [
    "ExportableModule",
    "detection_settings",
    "export_onnx",
    "exportable_module",
    "host_work",
    "write_graph",
]
