_base_ = [
    "./_base_/rtmo.py",
    "./_base_/backends/tensorrt.py",
]

onnx_config = dict(
    dynamic_axes={
        "input": {0: "batch"},
        "dets": {0: "batch"},
        "keypoints": {0: "batch"},
    },
)

backend_config = dict(
    common_config=dict(fp16_mode=True, max_workspace_size=1 << 30),
    model_inputs=[
        dict(
            input_shapes=dict(
                input=dict(
                    min_shape=[1, 3, 640, 640],
                    opt_shape=[1, 3, 640, 640],
                    max_shape=[1, 3, 640, 640],
                )
            )
        )
    ],
)
