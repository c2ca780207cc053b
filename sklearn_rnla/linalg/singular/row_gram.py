"""Wide sparse matrices, on the side of their rows, and never made dense."""

from functools import cached_property
from typing import Any

import numpy as np

from ..._typing import Array, DTypeLike
from ...operators import Block, passes
from ...operators.centered import GramProduct
from ...operators.moments import shift_rows
from ...operators.rows import BLOCK_BYTES, add_states
from ...operators.sources import SparseRows
from ..dense.orth import orthonormal_rows

# Of a column with more than this share stored, the dense product is the faster one.
_FULL_SHARE = 0.1

# What products cost, in flops at the peak of a square one: a dense one for each of its
# own, a sparse one for each pair of entries in a column and for each entry.
_DENSE_COST = 1.4
_PAIR_COST = 150
_ENTRY_COST = 2000


def row_gram_cost(rows: SparseRows) -> float:
    """Return the cost of the Gram matrix of the rows, in flops of a square product."""
    n_rows, n_features = rows.shape
    if not isinstance(rows, SparseRows):
        return _DENSE_COST * n_rows**2 * n_features
    counts = _column_counts(rows.in_memory()).astype(np.float64)
    dense = counts > _FULL_SHARE * n_rows
    pairs = float(np.sum(counts[~dense] ** 2))
    dense_cost = _DENSE_COST * n_rows**2 * np.count_nonzero(dense)
    return dense_cost + _PAIR_COST * pairs + _ENTRY_COST * rows.nnz


def fold_short_product(
    state: Any, block: Block, weights: Array, total: Array, mean: Array | None
) -> list[Array]:
    """Fold what makes ``V A A^T`` and ``V A A^T V^T``; a block holds columns of A."""
    Y, mean = _short_projection(block, weights, total, mean)
    part = [block.values.T @ Y, (Y.T @ Y).astype(np.float64)]
    return add_states(state, part if mean is None else [*part, mean @ Y])


def fold_short_gram(
    state: Any, block: Block, weights: Array, total: Array, mean: Array
) -> list[Array]:
    """Fold what makes ``V A A^T V^T`` alone; a block holds columns of A."""
    Y, _ = _short_projection(block, weights, total, mean)
    return add_states(state, [(Y.T @ Y).astype(np.float64)])


def fold_short_qr(state: Any, block: Block, weights: Any, total: Any, mean: Any) -> Any:
    """Triangular factor of ``A^T V^T``; a block holds columns of A."""
    return passes.stack_qr(state, _short_projection(block, weights, total, mean)[0])


def _short_projection(block, weights, total, mean):
    Y = block.values @ weights
    if mean is not None:
        mean = mean[block.start : block.start + block.values.shape[0]]
        Y -= np.outer(mean, total)
    return Y, mean


class WideSparse:
    """Products with a wide sparse `CenteredMatrix` A, a few columns at a time.

    It stands for ``A^T`` in `block_krylov`, which so keeps its basis on the short side.

    Parameters
    ----------
    A : CenteredMatrix
        Over sparse rows, which fit in memory.
    dtype : dtype-like, default=float64
        Of the products.

    Attributes
    ----------
    moments : Moments
        Those of A.

    Notes
    -----
    What is dense are blocks of columns, `BLOCK_BYTES` each, and what is returned.
    """

    def __init__(self, A: Any, dtype: DTypeLike = np.float64) -> None:
        self._A = A
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        # Values that are not finite are found first, and the unit.
        mean = A.moments.mean
        values = A.rows.in_memory().astype(self.dtype, copy=False)
        self._mean = np.zeros(A.shape[1])
        if A.center:
            self._mean = mean if A.shift is None else mean - A.shift
        self._mean = self._mean.astype(self.dtype, copy=False)
        self._values = shift_rows(values, A.shift)
        weight = A.rows.weight
        weight = np.ones(A.shape[0]) if weight is None else weight
        self._root = np.sqrt(weight.astype(self.dtype, copy=False))

    @property
    def n_passes(self) -> int:
        """Passes over A."""
        return self._A.n_passes

    @property
    def stopped(self) -> bool | None:
        """Whether to stop, see `CenteredMatrix`."""
        return self._A.stopped

    @property
    def moments(self) -> Any:
        """Moments of A, whose squared norm is that of its transpose as well."""
        return self._A.moments

    @cached_property
    def _columns(self):
        """The columns of A as sparse rows: a copy of the entries."""
        return SparseRows(self._values.T, n_jobs=self._A.rows.n_jobs)

    def _fold(self, function, V, combine=add_states):
        """Fold over the columns, with what V is multiplied by."""
        weights = np.ascontiguousarray((V * self._root).T)
        args = weights, weights.sum(axis=0), self._mean if self._A.center else None
        state = self._columns.fold(function, *args, combine=combine)
        self._A.count_pass()
        return state

    def gram_product(self, V: Array) -> GramProduct:
        """Return ``V A A^T`` and ``V A A^T V^T``, for a few rows V."""
        Z, H, *along = self._fold(fold_short_product, V)
        if along:
            Z -= along[0]
        return GramProduct(np.ascontiguousarray(Z.T) * self._root, H)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ``A^T``."""
        return self._A.shape[::-1]

    def projected_gram(self, V: Array) -> Array:
        """Return ``V A A^T V^T`` alone, for a few rows V."""
        return self._fold(fold_short_gram, V)[0]

    def gram(self) -> Array:
        """Return ``A A^T``.

        Columns of few entries are multiplied as sparse ones, the others as dense ones.
        """
        values, mean, n_rows = self._values, self._mean, len(self._root)
        dense = _column_counts(values) > _FULL_SHARE * n_rows
        sparse = np.flatnonzero(~dense)
        light, mean = values[:, sparse], mean[sparse]
        gram = (light @ light.T).toarray()
        shifted = light @ mean - float(mean @ mean) / 2
        gram -= shifted[:, np.newaxis]
        gram -= shifted
        gram *= self._root
        gram *= self._root[:, np.newaxis]
        for block in self._dense_blocks(np.flatnonzero(dense), BLOCK_BYTES):
            gram += block @ block.T
        self._A.count_pass()
        return gram

    def triangular_factor(self, V: Any = None) -> Array:
        """Return R of ``A^T V^T = Q R``; V None is the identity.

        See `CenteredMatrix.triangular_factor`.
        """
        if V is not None:
            return self._fold(fold_short_qr, V, combine=passes.stack_qr)
        columns = np.flatnonzero(_column_counts(self._values))
        size = max(BLOCK_BYTES, 8 * len(self._root) ** 2)
        factor = None
        for block in self._dense_blocks(columns, size):
            factor = passes.stack_qr(factor, block.T)
        self._A.count_pass()
        return factor

    def right_vectors(self, s: Array, U: Array) -> Array:
        """Return the right singular vectors, given the values and the left ones, as rows.

        Where a value is zero there is none.
        """
        U = U[s > 0] / s[s > 0, np.newaxis]
        # These rows are nearly orthonormal: one round is enough.
        return orthonormal_rows(self.combine(U), n_rounds=1)

    def combine(self, U: Array) -> Array:
        """Return ``U A``, for a few rows U, in the dtype of the data."""
        product = np.empty((len(U), self._values.shape[1]), self._A.dtype)
        weights = np.ascontiguousarray((U * self._root).T)
        total = weights.sum(axis=0)
        parts = _slices(product.shape[1], BLOCK_BYTES // (8 * len(U)))
        for part in parts:
            # A slice of columns is a copy.
            values = self._values[:, part] if len(parts) > 1 else self._values
            found = values.T @ weights
            found -= np.outer(self._mean[part], total)
            product[:, part] = found.T
        self._A.count_pass()
        return product

    def _dense_blocks(self, columns, size):
        """Yield columns of A as dense blocks of so many bytes."""
        values, mean = self._values, self._mean
        if len(columns) < values.shape[1]:
            values, mean = values[:, columns], mean[columns]
        for part in _slices(len(columns), size // (8 * values.shape[0])):
            block = values[:, part].toarray()
            block -= mean[part]
            block *= self._root[:, np.newaxis]
            yield block


def _column_counts(values):
    counts = np.zeros(values.shape[1], np.int64)
    # In parts, as numpy makes copies in 64 bits of what it counts.
    for part in _slices(values.nnz, BLOCK_BYTES // 8):
        counts += np.bincount(values.indices[part], minlength=len(counts))
    return counts


def _slices(n, size):
    size = max(1, size)
    return [slice(a, min(a + size, n)) for a in range(0, n, size)]
