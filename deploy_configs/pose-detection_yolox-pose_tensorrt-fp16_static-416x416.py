_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/tensorrt-fp16.py",
]

onnx_config = dict(input_shape=[416, 416])

backend_config = dict(common_config=dict(max_workspace_size=1 << 30))
