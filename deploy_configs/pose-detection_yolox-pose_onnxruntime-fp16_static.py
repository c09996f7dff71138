_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/onnxruntime-fp16.py",
]

backend_config = dict(
    common_config=dict(keep_io_types=True),  # places of people in float16 have steps of 0.5 px
)
