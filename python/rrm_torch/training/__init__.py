"""Training loops and passes over a data set, comparison, and checkpoints."""
