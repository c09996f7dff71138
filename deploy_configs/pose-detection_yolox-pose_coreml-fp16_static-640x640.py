_base_ = ["./pose-detection_yolox-pose_coreml_static-640x640.py"]

backend_config = dict(precision="FP16")
