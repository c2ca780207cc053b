"""Randomized numerical linear algebra for machine learning."""

from .decomposition import RandomizedPCA
from .kernel_approximation import NystroemKernel
from .kernel_ridge import NystroemRidge, NystroemRidgeClassifier
from .linalg import (
    one_view_svd,
    projection_error,
    randomized_eigh,
    randomized_svd,
    range_finder,
)

__version__ = "0.1.0"

__all__ = [
    "NystroemKernel",
    "NystroemRidge",
    "NystroemRidgeClassifier",
    "RandomizedPCA",
    "__version__",
    "one_view_svd",
    "projection_error",
    "randomized_eigh",
    "randomized_svd",
    "range_finder",
]
