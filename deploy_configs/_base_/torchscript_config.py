ir_config = dict(
    type="torchscript",
    save_file="end2end.pt",
    input_names=["input"],
    output_names=["output"],
    input_shape=None,
)
