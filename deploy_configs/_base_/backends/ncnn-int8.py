backend_config = dict(type="ncnn", precision="INT8", use_vulkan=False)

calib_config = dict(images=None, count=None)
