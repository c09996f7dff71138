_base_ = [
    "./_base_/torchscript_config.py",
    "./_base_/backends/torchscript.py",
]

ir_config = dict(
    output_names=["simcc_x", "simcc_y"],
    dynamic_axes={
        "input": {0: "batch"},
        "simcc_x": {0: "batch"},
        "simcc_y": {0: "batch"},
    },
)
codebase_config = dict(type="mmpose", task="PoseDetection")
