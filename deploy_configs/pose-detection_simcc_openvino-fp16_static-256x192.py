_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/openvino-fp16.py",
]

onnx_config = dict(input_shape=[192, 256])

backend_config = dict(
    model_inputs=[dict(opt_shapes=dict(input=[1, 3, 256, 192]))],
)
