backend_config = dict(type="onnxruntime", precision="int8")

calib_config = dict(images=None, count=None)
