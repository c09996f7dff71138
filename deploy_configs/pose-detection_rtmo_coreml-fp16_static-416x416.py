_base_ = [
    "./_base_/torchscript_config.py",
    "./_base_/backends/coreml.py",
]

ir_config = dict(input_shape=[416, 416], output_names=["dets", "keypoints"])
codebase_config = dict(
    type="mmpose",
    task="PoseDetection",
    post_processing=dict(
        score_threshold=0.05,
        iou_threshold=0.5,
        max_output_boxes_per_class=200,
        pre_top_k=2000,
        keep_top_k=50,
        background_label_id=-1,
    ),
)

backend_config = dict(precision="FP16")
