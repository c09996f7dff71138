_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/openvino-fp16.py",
]

backend_config = dict(
    inference_precision="f16",
    model_inputs=[dict(opt_shapes=dict(input=[1, 3, 416, 416]))],
)
