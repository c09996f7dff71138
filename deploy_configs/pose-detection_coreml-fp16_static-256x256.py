_base_ = ["./pose-detection_coreml_static-256x256.py"]

backend_config = dict(precision="FP16")
