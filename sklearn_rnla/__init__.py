"""Randomized numerical linear algebra for machine learning."""

from .decomposition import RandomizedPCA

__version__ = "0.1.0"

__all__ = ["RandomizedPCA", "__version__"]
