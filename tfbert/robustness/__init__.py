"""Robustness: how predictions change when texts change in ways that keep their labels."""
