"""Recipes: the data sets and settings of the literature, for a machine with a GPU."""
