"""Activations: what a user passes becomes rows, alone or in pairs."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from ..._validation import check_in_memory
from ...operators import as_row_matrix, is_read_lazily, passes
from ...operators.rows import add_states
from ...operators.sources import dense_block_rows, is_dask
from ...operators.stacking import stack_rows
from ...operators.threads import split
from ..arrays import is_tensor, to_numpy

# Up to this many rows or columns, a Gram matrix of them is formed and solved whole.
WIDEST = 4096

# Columns of a copy, where a matrix is taken by slices of columns.
_SLICE = 2048

# Rows of a block of two wide layers: adding up Gram matrices costs as much as their
# products where blocks are short.
_LEAST_ROWS = 1024


class _TensorRows:
    """Rows of a torch tensor: a slice becomes an array when it is asked for."""

    def __init__(self, x, name):
        if x.ndim != 2:
            raise ValueError(f"Expected 2D array, got {name} of shape {tuple(x.shape)}.")
        self._x, self._name = x, name
        self.shape = tuple(x.shape)
        self.dtype = to_numpy(x[:1], name).dtype

    def __getitem__(self, rows):
        return to_numpy(self._x[rows], self._name)


def _checked(X, name):
    """Return `X` as `as_row_matrix` takes it, or raise."""
    if is_tensor(X):
        return _TensorRows(X, name)
    if is_read_lazily(X):
        return X
    return check_in_memory(X, name)


def activation_rows(X, name, *, block_size=None, n_jobs=None):
    """Return activations as a row matrix.

    Parameters
    ----------
    X : array-like, tensor, sparse matrix, memmap, dask array or iterator of blocks
        Of shape (n_samples, n_features). Slices of a tensor are converted one by one.
    name : str
        What errors call it.
    block_size, n_jobs : int or None
        See `as_row_matrix`.

    Returns
    -------
    RowMatrix

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.check_array`.
    """
    return as_row_matrix(_checked(X, name), block_size=block_size, n_jobs=n_jobs)


def in_process(rows):
    """Whether any rows can be had in this process, as often as wanted."""
    return hasattr(rows, "values")


def sample_gram(A):
    """Return ``A A^T`` of rows in memory, in float64.

    Parameters
    ----------
    A : CenteredMatrix

    Returns
    -------
    ndarray of shape (n_samples, n_samples)
        By slices of columns, each centred by a copy.
    """
    # Moments come first: they may change the unit of the rows.
    moments = A.moments
    mean = moments.mean if A.center else np.zeros(A.shape[1])
    B = A.rows.in_memory()
    B = sp.csc_array(B) if sp.issparse(B) else B
    gram = np.zeros((A.shape[0],) * 2)
    for columns in split(A.shape[1], _SLICE):
        part = passes.dense_rows(B[:, columns]) - mean[columns]
        gram += part @ part.T
    return gram


class PairedRows:
    """Two row matrices with the same rows, read together.

    Parameters
    ----------
    X, Y : array-like and the like
        As `activation_rows` takes them.
    block_size, n_jobs : int or None
        See `as_row_matrix`; None makes blocks of both together as large as one.

    Attributes
    ----------
    X, Y : RowMatrix

    Raises
    ------
    ValueError
        When they have different numbers of rows: of iterators, when that is noticed. When
        both are the same iterator, each block of which would go to one of them.
    """

    def __init__(self, X, Y, *, block_size=None, n_jobs=None):
        if X is Y and isinstance(X, Iterator):
            raise ValueError(
                "X and Y are the same iterator, which can be read once: pass two of them, "
                "or an array, memmap or dask array."
            )
        X, Y = _checked(X, "X"), _checked(Y, "Y")
        if block_size is None and not (sp.issparse(X) and sp.issparse(Y)):
            widths = [_width(A) for A in (X, Y)]
            if None not in widths:
                block_size = max(_LEAST_ROWS, dense_block_rows(sum(widths), 8))
        self.X = as_row_matrix(X, block_size=block_size, n_jobs=n_jobs)
        self.Y = as_row_matrix(Y, block_size=block_size, n_jobs=n_jobs)
        n_rows = self.X.shape[0], self.Y.shape[0]
        if None not in n_rows and n_rows[0] != n_rows[1]:
            raise ValueError(f"X has {n_rows[0]} rows, but Y has {n_rows[1]} rows.")

    def fold(self, function, *args, combine=add_states):
        """Fold ``function(state, (x, y), *args)`` over blocks of the same rows of both.

        Blocks that cannot be had in any order come one after the other, in this process.
        """
        if in_process(self.X) and in_process(self.Y):
            return self.X.fold(_with_partner, self.Y, function, args, combine=combine)
        state = None
        with np.errstate(invalid="ignore", over="ignore"):
            for pair in _aligned(self.X.blocks(), self.Y.blocks()):
                state = function(state, pair, *args)
        return state


def _width(X):
    shape = getattr(X, "shape", None)
    return None if is_dask(X) or len(shape or ()) != 2 else shape[1]


def _with_partner(state, block, Y, function, args):
    rows = slice(block.start, block.start + block.values.shape[0])
    return function(state, (block.values, Y.values(rows)), *args)


def _aligned(left, right):
    """Yield the values of two streams of blocks, those of the second cut as the first."""
    rest = None
    for block in left:
        parts, missing = [], block.values.shape[0]
        while missing:
            if rest is None or not rest.shape[0]:
                following = next(right, None)
                if following is None:
                    raise ValueError("Y has fewer rows than X.")
                rest = following.values
            parts.append(rest[:missing])
            missing -= parts[-1].shape[0]
            rest = rest[parts[-1].shape[0] :]
        if parts:
            yield block.values, stack_rows(parts)
    if (rest is not None and rest.shape[0]) or next(right, None) is not None:
        raise ValueError("Y has more rows than X.")
