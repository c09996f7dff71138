_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/onnxruntime-int8.py",
]

onnx_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "dets": {0: "batch"},
        "keypoints": {0: "batch"},
    },
)
