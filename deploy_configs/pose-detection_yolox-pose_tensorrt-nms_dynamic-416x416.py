_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/tensorrt.py",
]

onnx_config = dict(
    input_shape=[416, 416],
    dynamic_axes={
        "input": {0: "batch"},
        "dets": {0: "batch"},
        "keypoints": {0: "batch"},
    },
)

# TensorRT's TopK takes 3840 at most, where the other flows take 5000
codebase_config = dict(post_processing=dict(pre_top_k=3840))

backend_config = dict(
    stage="nms",
    common_config=dict(max_workspace_size=1 << 30),
    model_inputs=[
        dict(
            input_shapes=dict(
                input=dict(
                    min_shape=[1, 3, 416, 416],
                    opt_shape=[2, 3, 416, 416],
                    max_shape=[4, 3, 416, 416],
                )
            )
        )
    ],
)
