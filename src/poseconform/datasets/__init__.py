"""Labeled data sets: accuracy of whole deployments against PyTorch's, in points of AP and PCK."""
