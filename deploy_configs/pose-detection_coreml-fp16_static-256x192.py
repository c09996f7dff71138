_base_ = ["./pose-detection_coreml_static-256x192.py"]

backend_config = dict(precision="FP16")
