_base_ = [
    "./_base_/torchscript_config.py",
    "./_base_/backends/coreml.py",
]

ir_config = dict(input_shape=[256, 256])
codebase_config = dict(type="mmpose", task="PoseDetection")

backend_config = dict(precision="FP16")
