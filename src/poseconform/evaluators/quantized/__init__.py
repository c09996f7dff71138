"""How much each quantised layer of an int8 artefact adds, read and run from the artefact itself.

One module a backend, none of which knows how the artefact was made.  Each layer is given the
input that it has in the float32 file of the same model, and its output is compared with the one
there: signal over quantisation noise.  A layer's own noise is well conditioned whatever the
weights are; noise that has gone through a whole network of unfitted weights is not.

The functions run in a child process, for they load the backend.
"""
