backend_config = dict(
    type="tensorrt-rtx",
    compute_capabilities=None,  # the library's own set; or some of 7.5 8.0 8.6 8.9 12.0 12.1
)
