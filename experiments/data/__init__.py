"""Loaders of the data sets that only the experiments use."""
