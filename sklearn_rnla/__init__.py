"""Randomized numerical linear algebra for machine learning."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import NystroemSpectralClustering
    from .decomposition import RandomizedPCA
    from .feature_selection import CURSelector
    from .gaussian_process import NystroemGaussianProcessRegressor
    from .impute import MatrixCompleter
    from .kernel_approximation import NystroemKernel
    from .kernel_ridge import NystroemRidge, NystroemRidgeClassifier
    from .linalg import (
        column_subset,
        cur,
        interpolative,
        leverage_scores,
        lstsq,
        nystroem_eigh,
        one_view_svd,
        projection_error,
        randomized_eigh,
        randomized_svd,
        range_finder,
        ridge_leverage_scores,
        rpcholesky,
    )
    from .linear_model import SketchedRidge
    from .matrix_factorization import MatrixFactorizationRegressor
    from .random_projection import SketchProjection

__version__ = "0.1.0"

# A module is imported when a name of it is first asked for: who wants one estimator does
# not wait for the others.
_MODULES = {
    "CURSelector": "feature_selection",
    "MatrixCompleter": "impute",
    "MatrixFactorizationRegressor": "matrix_factorization",
    "NystroemGaussianProcessRegressor": "gaussian_process",
    "NystroemKernel": "kernel_approximation",
    "NystroemRidge": "kernel_ridge",
    "NystroemRidgeClassifier": "kernel_ridge",
    "NystroemSpectralClustering": "cluster",
    "RandomizedPCA": "decomposition",
    "SketchProjection": "random_projection",
    "SketchedRidge": "linear_model",
    "column_subset": "linalg",
    "cur": "linalg",
    "interpolative": "linalg",
    "leverage_scores": "linalg",
    "lstsq": "linalg",
    "nystroem_eigh": "linalg",
    "one_view_svd": "linalg",
    "projection_error": "linalg",
    "randomized_eigh": "linalg",
    "randomized_svd": "linalg",
    "range_finder": "linalg",
    "ridge_leverage_scores": "linalg",
    "rpcholesky": "linalg",
}

__all__ = [
    "CURSelector",
    "MatrixCompleter",
    "MatrixFactorizationRegressor",
    "NystroemGaussianProcessRegressor",
    "NystroemKernel",
    "NystroemRidge",
    "NystroemRidgeClassifier",
    "NystroemSpectralClustering",
    "RandomizedPCA",
    "SketchProjection",
    "SketchedRidge",
    "__version__",
    "column_subset",
    "cur",
    "interpolative",
    "leverage_scores",
    "lstsq",
    "nystroem_eigh",
    "one_view_svd",
    "projection_error",
    "randomized_eigh",
    "randomized_svd",
    "range_finder",
    "ridge_leverage_scores",
    "rpcholesky",
]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
