"""Adversarial attacks and adversarial training."""
