"""Small generated data sets in the layout of the real ones, for the quick versions of the recipes and their tests."""
