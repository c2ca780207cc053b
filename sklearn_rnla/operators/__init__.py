"""The data matrix: row blocks, their sources, and passes over them."""

from .centered import CenteredMatrix
from .kernels import Kernel
from .moments import Moments
from .psd_matrix import KernelMatrix
from .rows import Block, RowMatrix
from .sources import as_row_matrix, is_read_lazily

__all__ = [
    "Block",
    "CenteredMatrix",
    "Kernel",
    "KernelMatrix",
    "Moments",
    "RowMatrix",
    "as_row_matrix",
    "is_read_lazily",
]
