"""Matrices of which some entries are known: one model, and the solvers that fit it."""
