"""Weights, images and figures that need no network."""
