_base_ = ["./pose-detection_simcc_coreml_static-256x192.py"]

backend_config = dict(precision="FP16")
