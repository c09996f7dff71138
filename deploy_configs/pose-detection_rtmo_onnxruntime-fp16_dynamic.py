_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/onnxruntime-fp16.py",
]

onnx_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "dets": {0: "batch"},
        "keypoints": {0: "batch"},
    },
)

backend_config = dict(
    common_config=dict(keep_io_types=True),  # places of people in float16 have steps of 0.5 px
)
