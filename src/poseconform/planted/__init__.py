"""Planted defects: which checks run on them, and the score."""
