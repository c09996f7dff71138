_base_ = ["./pose-detection_rtmo_coreml_static-416x416.py"]

backend_config = dict(precision="FP16")
