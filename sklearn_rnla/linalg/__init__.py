"""The algorithms as functions: arrays and row matrices in, named tuples out."""

from .column_subset import ColumnSubset, column_subset
from .columns.rows import CUR
from .cur import cur
from .dense.orth import orth
from .eigh import Eigh, randomized_eigh
from .interpolation import Interpolation, interpolative
from .leverage import leverage_scores
from .lstsq import LeastSquares, lstsq
from .nystroem.pivoted_cholesky import PivotedCholesky
from .psd import NystroemEigh, nystroem_eigh, ridge_leverage_scores, rpcholesky
from .range import ProjectionError, Range, projection_error, range_finder
from .singular.gram import RightSVD
from .svd import SVD, one_view_svd, randomized_svd
from .traces import Diagonal, LogDeterminant, Trace, diagonal, log_det, trace

__all__ = [
    "CUR",
    "SVD",
    "ColumnSubset",
    "Diagonal",
    "Eigh",
    "Interpolation",
    "LeastSquares",
    "LogDeterminant",
    "NystroemEigh",
    "PivotedCholesky",
    "ProjectionError",
    "Range",
    "RightSVD",
    "Trace",
    "column_subset",
    "cur",
    "diagonal",
    "interpolative",
    "leverage_scores",
    "log_det",
    "lstsq",
    "nystroem_eigh",
    "one_view_svd",
    "orth",
    "projection_error",
    "randomized_eigh",
    "randomized_svd",
    "range_finder",
    "ridge_leverage_scores",
    "rpcholesky",
    "trace",
]
