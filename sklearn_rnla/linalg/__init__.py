"""The algorithms as functions: arrays and row matrices in, named tuples out."""

from .eigh import Eigh, randomized_eigh
from .krylov import RightSVD
from .orth import orth
from .pivoted_cholesky import PivotedCholesky
from .psd import NystroemEigh, nystroem_eigh, ridge_leverage_scores, rpcholesky
from .range import ProjectionError, Range, projection_error, range_finder
from .svd import SVD, one_view_svd, randomized_svd

__all__ = [
    "SVD",
    "Eigh",
    "NystroemEigh",
    "PivotedCholesky",
    "ProjectionError",
    "Range",
    "RightSVD",
    "nystroem_eigh",
    "one_view_svd",
    "orth",
    "projection_error",
    "randomized_eigh",
    "randomized_svd",
    "range_finder",
    "ridge_leverage_scores",
    "rpcholesky",
]
