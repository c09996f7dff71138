_base_ = [
    "./pose-detection_static.py",
    "./_base_/backends/onnxruntime-int8.py",
]
