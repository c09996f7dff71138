_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/ncnn-int8.py",
]

onnx_config = dict(input_shape=[192, 256])
