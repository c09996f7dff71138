_base_ = ["./pose-detection_rtmo_coreml_static-416x416.py"]

ir_config = dict(input_shape=[640, 640])
