"""Randomized numerical linear algebra for machine learning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import linalg, neural, operators, plotting, sketching
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
    from .neural import (
        compress_layers,
        compress_mlp,
        linear_cka,
        lora_init,
        low_rank_factorize,
        nystroem_attention,
        principal_angles,
        representation_spectrum,
        select_neurons,
        subspace_overlap,
    )
    from .random_projection import SketchProjection

__version__ = "0.1.0"

# A module is imported when a name of it is first asked for: who wants one estimator does
# not wait for the others. All names that have no place here are of `linalg`.
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
    "compress_layers": "neural",
    "compress_mlp": "neural",
    "linear_cka": "neural",
    "lora_init": "neural",
    "low_rank_factorize": "neural",
    "nystroem_attention": "neural",
    "principal_angles": "neural",
    "representation_spectrum": "neural",
    "select_neurons": "neural",
    "subspace_overlap": "neural",
}
_SUBMODULES = {"linalg", "neural", "operators", "plotting", "sketching"}

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
    "compress_layers",
    "compress_mlp",
    "cur",
    "interpolative",
    "leverage_scores",
    "linalg",
    "linear_cka",
    "lora_init",
    "low_rank_factorize",
    "lstsq",
    "neural",
    "nystroem_attention",
    "nystroem_eigh",
    "one_view_svd",
    "operators",
    "plotting",
    "principal_angles",
    "projection_error",
    "randomized_eigh",
    "randomized_svd",
    "range_finder",
    "representation_spectrum",
    "ridge_leverage_scores",
    "rpcholesky",
    "select_neurons",
    "sketching",
    "subspace_overlap",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES.get(name, 'linalg')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
