_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/pplnn.py",
]

onnx_config = dict(opset_version=13, input_shape=[640, 640])

backend_config = dict(precision="FP16", model_inputs=dict(opt_shape=[1, 3, 640, 640]))
