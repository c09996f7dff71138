_base_ = ["./pose-detection_rtmo_coreml_static-640x640.py"]

backend_config = dict(precision="FP16")
