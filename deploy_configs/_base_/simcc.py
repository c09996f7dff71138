_base_ = ["../pose-detection_static.py"]

onnx_config = dict(output_names=["simcc_x", "simcc_y"])
