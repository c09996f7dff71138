"""The judge: drives an implementation through model x deploy config and compares with PyTorch."""
