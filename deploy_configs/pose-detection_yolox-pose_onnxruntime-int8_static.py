_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/onnxruntime-int8.py",
]
