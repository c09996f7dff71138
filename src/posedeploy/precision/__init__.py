"""Calibration sets, and the recipes that make a model smaller: fp16 and int8."""
