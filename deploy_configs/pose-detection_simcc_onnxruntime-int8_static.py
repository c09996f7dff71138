_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/onnxruntime-int8.py",
]
