_base_ = [
    "./_base_/simcc.py",
    "./_base_/backends/onnxruntime-fp16.py",
]

onnx_config = dict(
    input_shape=None,  # the model's: MMDeploy has [192, 256], and exports another's with a warning
    dynamic_axes={
        "input": {0: "batch"},
        "simcc_x": {0: "batch"},
        "simcc_y": {0: "batch"},
    },
)
