_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/onnxruntime-fp16.py",
]
