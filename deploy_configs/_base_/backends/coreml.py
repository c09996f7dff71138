backend_config = dict(type="coreml", convert_to="mlprogram")
