_base_ = [
    "./_base_/torchscript_config.py",
    "./_base_/backends/torchscript.py",
]

ir_config = dict(
    output_names=["dets", "keypoints"],
    dynamic_axes={
        "input": {0: "batch"},
        "dets": {0: "batch"},
        "keypoints": {0: "batch"},
    },
)
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
