"""Least squares and ridge regression: a sketch, a preconditioner, a refinement."""
