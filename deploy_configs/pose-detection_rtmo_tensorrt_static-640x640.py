_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/tensorrt.py",
]

onnx_config = dict(input_shape=[640, 640])

backend_config = dict(common_config=dict(max_workspace_size=1 << 30))
