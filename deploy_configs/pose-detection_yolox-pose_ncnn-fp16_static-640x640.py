_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/ncnn-fp16.py",
]

onnx_config = dict(input_shape=[640, 640])
