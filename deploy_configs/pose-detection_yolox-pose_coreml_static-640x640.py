_base_ = ["./pose-detection_yolox-pose_coreml_static-416x416.py"]

ir_config = dict(input_shape=[640, 640])
