_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/onnxruntime-int8.py",
]

onnx_config = dict(
    input_shape=[192, 256],
    dynamic_axes={
        "input": {0: "batch"},
        "simcc_x": {0: "batch"},
        "simcc_y": {0: "batch"},
    },
)
codebase_config = dict(export_postprocess=False)
