_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/onnxruntime-int8.py",
]
