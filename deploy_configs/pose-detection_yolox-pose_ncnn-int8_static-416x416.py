_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/ncnn-int8.py",
]

onnx_config = dict(input_shape=[416, 416])
