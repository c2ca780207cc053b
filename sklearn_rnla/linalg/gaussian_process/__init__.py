"""Gaussian processes: the evidence, on landmarks or in full, and its maximum."""
