backend_config = dict(type="ncnn", precision="FP32", use_vulkan=False)
