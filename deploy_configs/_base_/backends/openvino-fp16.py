backend_config = dict(
    type="openvino",
    precision="fp16",  # of the weights
    inference_precision="f32",  # what is computed in: f32, or f16 in the flows named "-f16"
)
