"""How much each quantized layer of an int8 artifact adds, read and run from the artifact itself.

One module a backend, none of which knows how the artifact was made.  Each layer is given the
input that it has in the float32 file of the same model, and its output is compared with the one
there: signal over quantization noise.  A layer's own noise is well conditioned whatever the
weights are; noise that has gone through a whole network of unfitted weights is not.

The functions run in a child process, for they load the backend.
"""
