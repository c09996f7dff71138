backend_config = dict(type="openvino", precision="int8")

calib_config = dict(images=None, count=None)
