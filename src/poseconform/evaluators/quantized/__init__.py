"""How much each quantized layer of an int8 artifact adds, read and run from the artifact itself.

One module a backend, none of which depends on how the artifact was made. Each layer is given the
input that it has in the float32 file of the same model, and its output is compared with the one
there: signal over quantization noise. A layer's own noise is well conditioned whatever the weights
are; noise that has gone through a whole network of unfitted weights is not.

Each module has `measure(files, float_files, inputs)`, which runs in a child process that loads the
backend: files of the int8 artifact and of the float32 one (whose layers have the same names), the
main file first, and normalized inputs `[S, 3, H, W]`. It raises `ValueError` where a layer is not
in the float32 file, or the backend refuses a file.
"""
