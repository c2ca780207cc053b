"""Singular vectors by passes over the rows, and the choice among the ways to get them."""
