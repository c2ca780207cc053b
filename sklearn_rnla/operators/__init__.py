"""The data matrix: row blocks, their sources, and passes over them."""

from ._rows import Block, RowMatrix
from .centered import CenteredMatrix, Moments
from .kernels import Kernel
from .psd import KernelMatrix
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
