"""What PyTorch computes for a model, by mmpose's own code."""
