_base_ = [
    "./pose-detection_static.py",
    "./_base_/backends/pplnn.py",
]

onnx_config = dict(opset_version=13, input_shape=[256, 256])

backend_config = dict(model_inputs=dict(opt_shape=[1, 3, 256, 256]))
