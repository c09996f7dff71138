_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/openvino-int8.py",
]

onnx_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "dets": {0: "batch"},
        "keypoints": {0: "batch"},
    },
)

backend_config = dict(
    model_inputs=[dict(opt_shapes=dict(input=[1, 3, 416, 416]))],
)
