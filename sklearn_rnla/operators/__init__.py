"""The data matrix: row blocks, their sources, and passes over them."""

from ._rows import Block, RowMatrix
from .centered import CenteredMatrix, Moments
from .sources import as_row_matrix, is_read_lazily

__all__ = [
    "Block",
    "CenteredMatrix",
    "Moments",
    "RowMatrix",
    "as_row_matrix",
    "is_read_lazily",
]
