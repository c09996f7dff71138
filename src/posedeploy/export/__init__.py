"""MMPose models → intermediate representations that backends read."""

from __future__ import annotations

from posedeploy.export.detection import DetectionSettings, detection_settings
from posedeploy.export.module import ExportableModule, exportable_module
from posedeploy.export.representations import host_work, write_graph
from posedeploy.export.writer import EXPORTERS, ExportedGraph, export_onnx

__all__ = [
    "EXPORTERS",
    "DetectionSettings",
    "ExportableModule",
    "ExportedGraph",
    "detection_settings",
    "export_onnx",
    "exportable_module",
    "host_work",
    "write_graph",
]
