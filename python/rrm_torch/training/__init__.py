"""Training: the training loop, scoring and test passes, checkpoints, and the comparison of RRM with plain training."""
