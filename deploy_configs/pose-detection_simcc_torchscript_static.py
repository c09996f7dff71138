_base_ = [
    "./_base_/torchscript_config.py",
    "./_base_/backends/torchscript.py",
]

ir_config = dict(output_names=["simcc_x", "simcc_y"])
codebase_config = dict(type="mmpose", task="PoseDetection")
