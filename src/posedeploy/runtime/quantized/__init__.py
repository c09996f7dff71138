"""Noise of the quantized layers of int8 artifacts: one module a backend."""
