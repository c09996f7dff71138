"""MMPose models → intermediate representations that backends read."""

from posedeploy.export.detection import detection_settings
from posedeploy.export.module import ExportableModule, exportable_module
from posedeploy.export.representations import export_onnx, host_work, write_graph

__all__ = [
    "ExportableModule",
    "detection_settings",
    "export_onnx",
    "exportable_module",
    "host_work",
    "write_graph",
]
