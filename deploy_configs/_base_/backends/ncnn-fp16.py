backend_config = dict(type="ncnn", precision="FP16", use_vulkan=False)
