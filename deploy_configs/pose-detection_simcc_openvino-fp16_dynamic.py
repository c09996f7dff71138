_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/openvino-fp16.py",
]

onnx_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "simcc_x": {0: "batch"},
        "simcc_y": {0: "batch"},
    },
)
