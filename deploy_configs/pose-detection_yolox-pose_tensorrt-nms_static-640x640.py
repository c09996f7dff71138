_base_ = [
    "./_base_/yolox-pose.py",
    "./_base_/backends/tensorrt.py",
]

onnx_config = dict(input_shape=[640, 640])

# TensorRT's TopK takes 3840 at most, where the other flows take 5000
codebase_config = dict(post_processing=dict(pre_top_k=3840))

backend_config = dict(
    stage="nms",
    common_config=dict(max_workspace_size=1 << 30),
)
