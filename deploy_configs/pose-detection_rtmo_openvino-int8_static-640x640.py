_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/openvino-int8.py",
]

backend_config = dict(
    model_inputs=[dict(opt_shapes=dict(input=[1, 3, 640, 640]))],
)
