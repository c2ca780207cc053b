"""Pivots: columns of a small dense matrix, chosen one after another, and exchanged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from .triangular import triangular_inverse

# A residual norm is computed anew where downdating has cost it this share of its digits.
_DOWNDATED = 1e-6

# An exchange must gain this share of what its column holds: rounding alone must not.
_LEAST_GAIN = 1e-6
_MOST_SWEEPS = 20


class Pivots(NamedTuple):
    """Columns of B in the order chosen.

    Attributes
    ----------
    indices : ndarray of shape (k,)
        Distinct.
    errors : ndarray of shape (k + 1,)
        Frobenius norm of ``B - Q Q^T B`` before the first and after each, Q a basis of
        the columns chosen so far.
    """

    indices: np.ndarray
    errors: np.ndarray


class _Residual:
    """``R = B - Q Q^T B``, known by the norms of its columns and what they would capture.

    Attributes
    ----------
    Q : ndarray of shape (k, l)
        Orthonormal rows: a basis of the columns projected out.
    norms : ndarray of shape (n,)
        Squared norms of the columns r of R.
    captured : ndarray of shape (n,) or None
        ``r^T M r``: times the squared norm, what r would take from the target, whose Gram
        matrix is M.
    """

    def __init__(self, B, target, rounding=None):
        self.B, self.target = B, target
        self.Q = np.empty((0, len(B)))
        self.norms = squared_norms(B)
        self._fresh = self.norms.copy()
        self.captured = None if target is None else np.einsum("ij,ij->j", B, target @ B)
        if rounding is None:
            rounding = max(B.shape) * np.finfo(np.float64).eps
        self._rounding = rounding**2 * self.norms.max(initial=0.0)
        self._dependent = self._rounding

    def gains(self, taken, norms, captured):
        """Return what each column would take; -1 for those `taken` and dependent ones."""
        independent = norms > self._dependent
        independent[taken] = False
        if captured is None:
            return np.where(independent, norms, -1.0)
        return np.where(independent, captured / np.where(independent, norms, 1.0), -1.0)

    def direction(self, j):
        """Return the unit vector of column j of R."""
        q = self.B[:, j].copy()
        for _ in range(2):
            q -= (self.Q @ q) @ self.Q
        return q / np.linalg.norm(q)

    def project_out(self, j):
        """Add column j to those projected out."""
        # Rounding errors of a short column are magnified in what depends on it.
        growth = self.norms.max() / max(self.norms[j], np.finfo(np.float64).tiny)
        self._dependent = max(self._dependent, self._rounding * growth)
        q = self.direction(j)
        # Q is orthogonal to q, so that its product with B is that with R.
        c = q @ self.B
        self.norms -= c**2
        if self.captured is not None:
            Mq = self.target @ q
            self.captured -= 2 * c * (self._rest(Mq) @ self.B) - (q @ Mq) * c**2
        self.Q = np.concatenate([self.Q, q[np.newaxis]])
        # Of the column itself, nothing is left to compute anew.
        self.norms[j] = self._fresh[j] = 0.0
        stale = np.flatnonzero(self.norms < _DOWNDATED * self._fresh)
        if len(stale):
            self._refresh(stale)

    def after_all(self, indices):
        """Return what is left after 0, 1, ... of some columns; None if one depends.

        In matrix products, where `project_out` takes one column at a time.
        """
        Q, T = _basis(self.B[:, indices])
        diagonal = np.square(np.diagonal(T))
        # As far as short columns magnify rounding errors.
        growth = self.norms.max() / max(diagonal.min(), np.finfo(np.float64).tiny)
        if diagonal.min() <= self._rounding * growth:
            return None
        taken = np.cumsum([0.0, *np.einsum("ij,ij->i", *[Q @ self.B] * 2)])
        return np.maximum(self.norms.sum() - taken, 0.0)

    def without(self, u):
        """Return norms and captured as they are without `u`, a unit vector of Q's span."""
        c, Mu = u @ self.B, self.target @ u
        captured = self.captured + 2 * c * (self._rest(Mu) @ self.B) + (u @ Mu) * c**2
        return self.norms + c**2, captured

    def own_directions(self, indices):
        """Return, as rows, the unit vectors of the span that one of its columns has alone.

        Row i is orthogonal to all columns `indices` but the i-th. Q becomes the basis from
        those columns in their order.
        """
        self.Q, T = _basis(self.B[:, indices])
        own = triangular_inverse(T.T).T @ self.Q
        return own / np.linalg.norm(own, axis=1, keepdims=True)

    def _rest(self, v):
        return v - (self.Q @ v) @ self.Q

    def _refresh(self, columns):
        R = self.B[:, columns]
        for _ in range(2):
            R = R - self.Q.T @ (self.Q @ R)
        self.norms[columns] = self._fresh[columns] = squared_norms(R)
        if self.captured is not None:
            self.captured[columns] = np.einsum("ij,ij->j", R, self.target @ R)


def squared_norms(B):
    """Return the squared norms of the columns."""
    return np.einsum("ij,ij->j", B, B)


def pivot_columns(B, k, *, target=None, first=(), rounding=None) -> Pivots:
    """Choose columns of B one after another, each the best given those before.

    Parameters
    ----------
    B : ndarray of shape (l, n)
        In float64.
    k : int
        Most columns.
    target : ndarray of shape (l, l), default=None
        Gram matrix ``T T^T`` of what the columns are to span. None chooses the column
        with the largest residual: QR with column pivoting (Businger & Golub 1965), as
        LAPACK's geqp3 does. With a target, the column that takes most of it: the greedy
        generalised column subset selection of Farahat, Elgohary, Ghodsi & Kamel (2015);
        with T a response, orthogonal least squares (Chen, Billings & Luo 1989).
    first : sequence of int, default=()
        Columns to take before those, in this order; dependent ones are passed over.
    rounding : float, default=None
        Relative size of rounding errors in B; None is that of float64.

    Returns
    -------
    Pivots
        Fewer than `k` where the rest is rounding.

    Notes
    -----
    k steps of Gram-Schmidt, done twice, on the pivot alone; norms are downdated. 2 l n
    flops a step, 4 l n with a target; geqp3 would factor the whole of B.
    """
    residual = _Residual(B, target, rounding)
    k = min(k, *B.shape)
    if len(first) >= k > 0:
        squares = residual.after_all(first[:k])
        if squares is not None:
            return Pivots(np.array(first[:k], dtype=np.intp), np.sqrt(squares))
    indices, squares = [], [float(residual.norms.sum())]
    first = iter(first)
    while len(indices) < k:
        gains = residual.gains(indices, residual.norms, residual.captured)
        best = next((int(j) for j in first if gains[j] >= 0), int(np.argmax(gains)))
        if gains[best] < 0:
            break
        residual.project_out(best)
        indices.append(best)
        squares.append(float(np.maximum(residual.norms, 0.0).sum()))
    return Pivots(np.array(indices, dtype=np.intp), np.sqrt(squares))


def swap_columns(B, indices, *, target=None, rounding=None) -> np.ndarray:
    """Exchange chosen columns for others while that takes more of the target.

    Parameters
    ----------
    B : ndarray of shape (l, n)
        In float64.
    indices : ndarray of shape (k,)
        Independent columns.
    target : ndarray of shape (l, l), default=None
        Gram matrix of what they are to span; None is that of B.
    rounding : float, default=None
        Relative size of rounding errors in B; None is that of float64.

    Returns
    -------
    ndarray of shape (k,)
        Columns that no single exchange betters, or those after 20 sweeps.

    Notes
    -----
    Coordinate ascent on the set: each column in turn leaves, and the one that takes most
    of the target enters. Its leaving gives the residual back the direction u that only
    it had, so that all candidates are scored by two products with B, 4 l n flops.
    """
    target = B @ B.T if target is None else target
    chosen = indices.copy()
    k = len(chosen)
    if k in (0, B.shape[1]):
        return chosen
    residual = _Residual(B, target, rounding)
    for j in chosen:
        residual.project_out(j)
    own = residual.own_directions(chosen)
    position = unchanged = 0
    for _ in range(_MOST_SWEEPS * k):
        if unchanged == k:
            break
        norms, captured = residual.without(own[position])
        gains = residual.gains(np.delete(chosen, position), norms, captured)
        best = int(np.argmax(gains))
        unchanged += 1
        if gains[best] > (1 + _LEAST_GAIN) * gains[chosen[position]]:
            chosen[position] = best
            residual.norms, residual.captured = norms, captured
            residual.Q = _basis(B[:, np.delete(chosen, position)])[0]
            residual.project_out(best)
            own = residual.own_directions(chosen)
            unchanged = 1
        position = (position + 1) % k
    return chosen


def _basis(columns):
    Q, T = np.linalg.qr(columns)
    return np.ascontiguousarray(Q.T), T


def lu_pivots(A):
    """Return the rows of A that LU with partial pivoting takes, in order."""
    # The driver would warn of a singular factor; pivots are all that is wanted.
    _, swaps, _ = scipy.linalg.lapack.dgetrf(A)
    order = np.arange(len(A))
    for i, j in enumerate(swaps):
        order[[i, j]] = order[[j, i]]
    return order[: min(A.shape)]
