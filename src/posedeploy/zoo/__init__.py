"""The table of models, their checkpoints, and building a model from a config and a checkpoint.

`build` and `checkpoints` import torch; reading the table does not.
"""
