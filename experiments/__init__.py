"""Experiments on real data with wrong labels, and the models they train."""
