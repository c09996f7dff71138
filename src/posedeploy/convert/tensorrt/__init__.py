"""Conversion to TensorRT engines."""
