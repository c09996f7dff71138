"""Metrics, tolerances, and the comparisons that are made with them."""
