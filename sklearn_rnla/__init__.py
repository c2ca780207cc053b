"""Randomized numerical linear algebra for machine learning."""

from .decomposition import RandomizedPCA
from .kernel_approximation import NystroemKernel
from .kernel_ridge import NystroemRidge, NystroemRidgeClassifier
from .linalg import (
    nystroem_eigh,
    one_view_svd,
    projection_error,
    randomized_eigh,
    randomized_svd,
    range_finder,
    ridge_leverage_scores,
    rpcholesky,
)

__version__ = "0.1.0"

__all__ = [
    "NystroemKernel",
    "NystroemRidge",
    "NystroemRidgeClassifier",
    "RandomizedPCA",
    "__version__",
    "nystroem_eigh",
    "one_view_svd",
    "projection_error",
    "randomized_eigh",
    "randomized_svd",
    "range_finder",
    "ridge_leverage_scores",
    "rpcholesky",
]
