_base_ = [
    "./pose-detection_static.py",
    "./_base_/backends/onnxruntime-int8.py",
]

onnx_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "output": {0: "batch"},
    },
)
