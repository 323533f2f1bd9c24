"""Loaders of data sets that only the experiments use."""
