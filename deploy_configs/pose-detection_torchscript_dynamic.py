_base_ = [
    "./_base_/torchscript_config.py",
    "./_base_/backends/torchscript.py",
]

ir_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "output": {0: "batch"},
    },
)
codebase_config = dict(type="mmpose", task="PoseDetection")
