"""Kernels on landmarks: their choice, features, ridge regression, spectral clusters."""
