"""Calibration sets, and the recipes for lower precision: fp16 and int8."""
