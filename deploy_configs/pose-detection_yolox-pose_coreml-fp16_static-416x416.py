_base_ = ["./pose-detection_yolox-pose_coreml_static-416x416.py"]

backend_config = dict(precision="FP16")
