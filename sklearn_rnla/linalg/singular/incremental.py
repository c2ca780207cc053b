"""Incremental SVD: one batch of rows after another, in memory of a few rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..._random import stream
from ..._typing import Array, SparseMatrix
from ...operators import Moments, RowMatrix, passes
from ...operators.moments import full_and_far, shift_rows
from ...operators.stacking import stack_rows
from ..dense.orth import complete_rows, orthonormal_rows
from .gram import RightSVD, leading_eigh, squaring_loses
from .rank_rules import FixedRank, VarianceFraction

# Rows of a sparse batch taken at a time.
_SPARSE_ROWS = 512

# Smaller dense batches are joined first: each update costs a factorisation.
_LEAST_BATCH = 256

# Singular values of single precision may have lost this share of what they captured.
_SINGLE_ROUNDING = 1e-5

# Singular values within so many roundings of the largest are zero.
_ROUNDINGS = 100


@dataclass(frozen=True)
class RowSummary:
    """What is kept of the rows seen: never changed, each update makes a new one.

    Attributes
    ----------
    factor : ndarray of shape (r, n_features)
        Orthogonal rows, singular values times right singular vectors, decreasing: their
        Gram matrix is that of the centred rows less what was dropped.
    mean : ndarray of shape (n_features,)
        Weighted mean of the rows seen.
    total_weight : float
        Sum of their weights.
    squared_norm : float
        Their weighted sum of squares about the mean, exact.
    dropped : ndarray of shape (k,)
        Sums over the truncations of the largest squared singular values dropped: the sum
        of any k eigenvalues was lowered by at most ``dropped.sum()``.
    n_rows : int
        Number of rows seen.
    squares : ndarray of shape (n_features,) or None
        Weighted sums of squares of the columns about the mean; None where not known.
    """

    factor: np.ndarray
    mean: np.ndarray
    total_weight: float
    squared_norm: float
    dropped: np.ndarray
    n_rows: int
    squares: np.ndarray | None

    @classmethod
    def empty(cls, n_features: int, k: int) -> RowSummary:
        """Return the summary of no rows; `k` triplets are wanted in the end."""
        return cls(
            np.zeros((0, n_features)),
            np.zeros(n_features),
            0.0,
            0.0,
            np.zeros(k),
            0,
            np.zeros(n_features),
        )

    @classmethod
    def of_leading(
        cls,
        s: Array,
        V: Array,
        moments: Moments,
        n_rows: int,
        rule: FixedRank | VarianceFraction,
    ) -> RowSummary:
        """Return a summary of rows whose leading singular triplets alone are known.

        `rule` is what will be asked for, of more rows.
        """
        k = len(s) if isinstance(rule, FixedRank) else len(moments.mean)
        captured = float(np.sum(s.astype(np.float64) ** 2))
        tail = max(0.0, moments.squared_norm - captured)
        if len(s) == min(n_rows, len(moments.mean)):
            # Nothing was left out but rounding.
            tail = 0.0
        # What was left out is below the last, and in sum no more than the tail.
        dropped = np.full(k, float(np.min(s[-1:] ** 2, initial=tail / max(1, k))))
        factor = s[:, np.newaxis].astype(np.float64) * V
        return cls(
            factor,
            moments.mean,
            moments.total_weight,
            moments.squared_norm,
            dropped,
            n_rows,
            None,
        )

    @property
    def moments(self) -> Moments:
        """Moments of the rows seen."""
        return Moments.at_mean(self.total_weight, self.mean, self.squared_norm)

    @property
    def n_samples(self) -> int:
        """Number of rows seen, weights taken as repetitions."""
        return max(self.n_rows, int(self.total_weight))

    def supports(self, rule: FixedRank | VarianceFraction) -> bool:
        """Return whether `rule` can be asked, now or later: no part of it was dropped."""
        rounding = len(self.mean) * np.finfo(float).eps * self.squared_norm
        if len(self.dropped) and self.dropped.sum() <= rounding:
            return True
        if isinstance(rule, VarianceFraction):
            captured = float(np.sum(self.factor**2))
            if captured < (1 - _SINGLE_ROUNDING) * rule.fraction * self.squared_norm:
                return False
        return n_wanted(rule, len(self.mean)) <= len(self.dropped)

    def right_svd(self, rule: Callable[..., Any] | FixedRank) -> tuple[int, RightSVD]:
        """Return how many triplets `rule` keeps, and a `RightSVD` of as many.

        Directions no row reaches are random, with singular value zero.
        """
        s = np.sqrt(np.einsum("ij,ij->i", self.factor, self.factor))
        s = s[s > _ROUNDINGS * np.finfo(float).eps * s.max(initial=0.0)]
        V = self.factor[: len(s)] / s[:, np.newaxis]
        k = rule(s, self.squared_norm, (self.n_samples, len(self.mean)))
        k = max(1, len(s)) if k is None else k
        # What squaring has left of one in another is taken from the smaller.
        V = complete_rows(orthonormal_rows(V[:k], n_rounds=1), k, stream(0))
        error, s = self.excess(s, k), np.append(s[:k], np.zeros(max(0, k - len(s))))
        return k, RightSVD(s, V, error_estimate=error, converged=True)

    def excess(self, s: Array, k: int) -> float:
        """Return a bound on the excess Frobenius error of the leading k."""
        tail = max(0.0, self.squared_norm - float(np.sum(s[:k] ** 2)))
        # Ky Fan: k eigenvalues of a sum are in sum at most those of its terms, so that what
        # the best rank k captures is what these capture and no more than was dropped.
        best = max(tail - float(self.dropped.sum()), float(np.sum(s[k:] ** 2)))
        if tail <= np.finfo(float).eps * self.squared_norm:
            return 0.0
        return max(0.0, float(np.sqrt(tail / best)) - 1) if best > 0 else np.inf

    def update(
        self,
        values: Array | SparseMatrix,
        weight: Array | None = None,
        *,
        center: bool,
        n_kept: int,
    ) -> RowSummary:
        """Return the summary with a batch of rows added.

        Parameters
        ----------
        values : ndarray or csr_array of shape (b, n_features)
        weight : ndarray of shape (b,), default=None
        center : bool
        n_kept : int
            Rows the factor is cut to.

        Notes
        -----
        Ross, Lim, Lin & Yang (2008): the batch centred about its own mean, and one more
        row for the difference of the means, are stacked under the factor. The moments
        merge exactly (Chan, Golub & LeVeque 1983).
        """
        if sp.issparse(values) and values.shape[0] > _SPARSE_ROWS:
            summary = self
            for a in range(0, values.shape[0], _SPARSE_ROWS):
                rows = slice(a, a + _SPARSE_ROWS)
                part = None if weight is None else weight[rows]
                summary = summary.update(values[rows], part, center=center, n_kept=n_kept)
            return summary
        n_rows = values.shape[0]
        if sp.issparse(values) and values.shape[1] <= len(self.factor) + n_rows:
            # No larger than the Gram matrix of the rows, and not squared.
            values = values.toarray()
        root = np.ones(n_rows) if weight is None else np.sqrt(weight.astype(float))
        added = float(root @ root)
        if added == 0:
            return replace(self, n_rows=self.n_rows + n_rows)
        dtype, values = values.dtype, values.astype(np.float64)
        is_sparse, shift = sp.issparse(values), None
        if is_sparse and center:
            shift = full_and_far(values, np.float64)
            values = shift_rows(values, shift)
        mean = (root**2 @ values) / added
        mean = mean if shift is None else mean + shift
        total = self.total_weight + added
        origin = mean if center else np.zeros_like(mean)
        # Squares about the joint mean sum to those about the two means, and this row's.
        step = np.sqrt(self.total_weight * added / total) * (mean - self.mean)
        extra = step[np.newaxis][: int(center and self.total_weight > 0)]
        if is_sparse:
            origin = origin if shift is None else origin - shift
            dense = np.concatenate([self.factor, extra])
            s2, factor, squares = _stack_sparse(dense, values, root, origin, n_kept, dtype)
        else:
            batch = (values - origin) * root[:, np.newaxis]
            squares = np.einsum("ij,ij->j", batch, batch)
            passes.check_finite(squares.sum(), dtype)
            n_wanted = n_kept + len(self.dropped)
            stack = _stack_single if dtype == np.float32 else _stack_double
            stacked = np.concatenate([self.factor, batch, extra])
            s2, factor = stack(stacked, n_kept, n_wanted)
        squares = squares + np.sum(extra**2, axis=0)
        lost = s2[n_kept : n_kept + len(self.dropped)]
        dropped = self.dropped.copy()
        dropped[: len(lost)] += lost
        return RowSummary(
            factor,
            self.mean + (added / total) * (mean - self.mean),
            total,
            self.squared_norm + float(squares.sum()),
            dropped,
            self.n_rows + n_rows,
            None if self.squares is None else self.squares + squares,
        )


def n_wanted(rule: FixedRank, n_features: int) -> int:
    """Return how many triplets `rule` may keep in the end."""
    fixed = isinstance(rule, FixedRank)
    return min(rule.first_guess, n_features) if fixed else n_features


def n_rows_kept(k: int, n_features: int) -> int:
    """Return how many rows the factor keeps, for `k` triplets of little error."""
    return min(n_features, 2 * k + 32)


def summarize(
    rows: RowMatrix, k: int, n_kept: int, *, center: bool, summary: RowSummary | None = None
) -> RowSummary:
    """Return the summary of a row matrix, added to that of earlier rows.

    Parameters
    ----------
    rows : RowMatrix
        Read once, in order.
    k, n_kept, center
        See `RowSummary`.
    summary : RowSummary, default=None
    """
    if summary is None:
        summary = RowSummary.empty(rows.shape[1], k)
    elif k > len(summary.dropped):
        # That takes a summary that dropped nothing.
        summary = replace(summary, dropped=np.zeros(k))
    for values, weight in batches(rows.blocks(), n_kept):
        summary = summary.update(values, weight, center=center, n_kept=n_kept)
    return summary


def batches(blocks: Any, n_rows: int = 0) -> Any:
    """Yield the values and weights of blocks joined until they have `n_rows` rows.

    They have at least as many as are worth a factorisation.
    """
    waiting, n_rows = [], max(n_rows, _LEAST_BATCH)
    for block in blocks:
        waiting.append(block)
        if sum(b.values.shape[0] for b in waiting) >= n_rows:
            yield _join(waiting)
            waiting = []
    if waiting:
        yield _join(waiting)


def _join(blocks):
    if len(blocks) == 1:
        return blocks[0].values, blocks[0].weight
    weight = None
    if blocks[0].weight is not None:
        weight = np.concatenate([block.weight for block in blocks])
    return stack_rows([block.values for block in blocks]), weight


def _stack_double(stacked, n_kept, n_wanted):
    if stacked.shape[0] > stacked.shape[1]:
        stacked = passes.stack_qr(None, stacked)
    _, s, V = np.linalg.svd(stacked, full_matrices=False)
    return s**2, s[:n_kept, np.newaxis] * V[:n_kept]


def _stack_single(stacked, n_kept, n_wanted):
    """Square in double precision: what that loses, single precision data never had."""
    n_rows, n_features = stacked.shape
    tall = n_rows > n_features
    gram = stacked.T @ stacked if tall else stacked @ stacked.T
    s2, vectors = leading_eigh(gram, min(n_wanted, len(gram)))
    s2 = np.maximum(s2, 0.0)
    if tall:
        return s2, np.sqrt(s2[:n_kept, np.newaxis]) * vectors[:n_kept]
    return s2, _orthogonal(s2, vectors[:n_kept] @ stacked)


def _orthogonal(squared_values, rows):
    """Return rows that are orthogonal, of those that would be but for squaring."""
    if not squaring_loses(squared_values, len(rows), np.float64):
        return rows
    _, s, V = np.linalg.svd(rows, full_matrices=False)
    return s[:, np.newaxis] * V


def _stack_sparse(dense, values, root, origin, n_kept, dtype):
    """Stack without making the batch dense, by the Gram matrix of the stacked rows.

    Where squaring loses values of double precision, by a triangular factor instead, from
    dense blocks of columns.
    """
    scaled = values.multiply(root[:, np.newaxis]).tocsr()
    passes.check_finite(passes.squared_norm(scaled.data), dtype)
    shifted = scaled @ origin
    B_B = (scaled @ scaled.T).toarray()
    B_B -= np.outer(shifted, root) + np.outer(root, shifted)
    B_B += np.outer(root, root) * (origin @ origin)
    D_B = (scaled @ dense.T).T - np.outer(dense @ origin, root)
    gram = np.block([[dense @ dense.T, D_B], [D_B.T, B_B]])
    s2, U = leading_eigh(gram, len(gram))
    s2 = np.maximum(s2, 0.0)
    if dtype == np.float64 and squaring_loses(s2, min(n_kept, len(s2)), dtype):
        _, s, U = np.linalg.svd(_triangular(dense, scaled, root, origin))
        s2 = s**2
    U = U[:n_kept].T
    head, tail = U[: len(dense)], U[len(dense) :]
    new = head.T @ dense + (scaled.T @ tail).T - np.outer(root @ tail, origin)
    squares = scaled.multiply(scaled).sum(axis=0) - float(root @ root) * origin**2
    return s2, _orthogonal(s2, new), np.maximum(squares, 0.0)


def _triangular(dense, scaled, root, origin):
    """Return R of ``X^T = Q R``, X being `dense` over ``scaled - root origin^T``."""
    n = len(dense) + len(root)
    factor = None
    for a in range(0, len(origin), n):
        part = slice(a, a + n)
        batch = scaled[:, part].toarray() - np.outer(root, origin[part])
        block = np.concatenate([dense[:, part], batch]).T
        factor = passes.stack_qr(factor, block)
    return factor
