"""Perturbations: changes of a text that do not change its label, such as typing errors."""
