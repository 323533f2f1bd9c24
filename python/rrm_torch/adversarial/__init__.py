"""Adversarial training: attacks and TRADES."""
