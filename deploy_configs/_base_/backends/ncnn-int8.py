backend_config = dict(type="ncnn", precision="INT8", use_vulkan=False)
