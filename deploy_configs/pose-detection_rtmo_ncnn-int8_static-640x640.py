_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/ncnn-int8.py",
]

onnx_config = dict(input_shape=[640, 640])
