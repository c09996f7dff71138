_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/ncnn.py",
]

onnx_config = dict(input_shape=[192, 256])

backend_config = dict(precision="FP16")
