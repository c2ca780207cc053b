"""Pivots: columns of a small dense matrix, chosen one after another, and exchanged."""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from ..._typing import Array, Indices
from .rank import rounding_of
from .triangular import triangular_inverse

# A residual norm is computed anew where downdating has cost it this share of its digits.
_DOWNDATED = 1e-6

# An exchange must gain this share of what its column holds: rounding alone must not.
_LEAST_GAIN = 1e-6
_MOST_SWEEPS = 20

_TINY = float(np.finfo(np.float64).tiny)


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

    def __init__(self, B, target, rounding, k):
        self.B, self.target = B, target
        self.Q = np.empty((0, len(B)))
        self.norms = column_squared_norms(B)
        self._fresh, self._lengths = self.norms.copy(), np.sqrt(self.norms)
        self.captured = None if target is None else np.einsum("ij,ij->j", B, target @ B)
        if rounding is None:
            rounding = rounding_of(B.shape) * self._lengths
        self._rounding = np.broadcast_to(rounding, self.norms.shape)
        # Squared norms below which a column of R is rounding errors, in its own unit.
        self._floor = np.square(self._rounding)
        # Q = W B[:, taken]^T with W lower triangular, and the errors of those columns.
        self._W, self._errors = np.zeros((k, k)), np.empty(k)

    def gains(self, norms, captured):
        """Return what each column would take; -inf for those that are dependent or out.

        By rounding, what is taken of a target may be below zero.
        """
        independent = norms > self._floor
        if captured is None:
            return np.where(independent, norms, -np.inf)
        gains = np.full(len(norms), -np.inf)
        return np.divide(captured, norms, out=gains, where=independent)

    def project_out(self, j) -> bool:
        """Add column j to those projected out; False where rounding is all that is left."""
        q, i = self.B[:, j].copy(), len(self.Q)
        t = self.Q @ q
        q -= t @ self.Q
        again = self.Q @ q
        q -= again @ self.Q
        left = max(math.sqrt(q @ q), _TINY)
        w = self._W[i, : i + 1]
        w[:i], w[i] = (t + again) @ self._W[:i, :i] / -left, 1 / left
        # As q is B[:, taken] w, so are its errors of the errors of those columns.
        self._errors[i] = self._rounding[j]
        errors = self._errors[: i + 1] * w
        if errors @ errors >= 1:
            self._raise_floor(j)
            return False
        self.remove(j, q / left)
        self.leave_out(j)
        return True

    def remove(self, j, q):
        """Add the unit vector q of column j of R to the basis of those projected out."""
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

    def _raise_floor(self, j):
        """Set all errors to those of the columns' coefficients on the ones taken."""
        i = len(self.Q)
        errors = (self._errors[:i, np.newaxis] * self._W[:i, :i].T) @ (self.Q @ self.B)
        errors = self._rounding**2 + column_squared_norms(errors)
        self._floor = np.maximum(self._floor, errors)
        self.leave_out(j)

    def leave_out(self, j):
        """Let column j have no gain, whatever is left of it."""
        # Nor is its norm computed anew.
        self._floor[j], self._fresh[j] = np.inf, -np.inf

    def after_all(self, indices):
        """Return what is left after 0, 1, ... of some columns; None if one depends.

        In matrix products, where `project_out` takes one column at a time.
        """
        basis = self.basis(indices)
        if basis is None:
            return None
        taken = np.cumsum([0.0, *np.einsum("ij,ij->i", *[basis[0] @ self.B] * 2)])
        return np.maximum(self.norms.sum() - taken, 0.0)

    def basis(self, indices):
        """Return a basis Q of columns as rows, and W of Q = W B[:, indices]^T.

        None where some of the columns depend on those before.
        """
        lengths = self._lengths[indices]
        if not lengths.all():
            return None
        Q, T = np.linalg.qr(self.B[:, indices] / lengths)
        if not np.diagonal(T).all():
            return None
        W = triangular_inverse(T.T) / lengths
        errors = self._rounding[indices] * W
        independent = np.all(np.einsum("ij,ij->i", errors, errors) < 1)
        return (np.ascontiguousarray(Q.T), W) if independent else None

    def without(self, u):
        """Return norms and captured as they are without `u`, a unit vector of Q's span."""
        c, Mu = u @ self.B, self.target @ u
        captured = self.captured + 2 * c * (self._rest(Mu) @ self.B) + (u @ Mu) * c**2
        return self.norms + c**2, captured

    def _rest(self, v):
        return v - (self.Q @ v) @ self.Q

    def _refresh(self, columns):
        R = self.B[:, columns]
        for _ in range(2):
            R = R - self.Q.T @ (self.Q @ R)
        self.norms[columns] = self._fresh[columns] = column_squared_norms(R)
        if self.captured is not None:
            self.captured[columns] = np.einsum("ij,ij->j", R, self.target @ R)


def column_squared_norms(B: Array) -> Array:
    """Return the squared norms of the columns."""
    return np.einsum("ij,ij->j", B, B)


def pivot_columns(
    B: Array,
    k: int,
    *,
    target: Array | None = None,
    first: Indices | list[int] | tuple[Any, ...] = (),
    rounding: Array | float | None = None,
) -> Pivots:
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
    rounding : float or ndarray of shape (n,), default=None
        Norms of the rounding errors in the columns of B; None is those of float64.

    Returns
    -------
    Pivots
        Fewer than `k` where the rest is rounding.

    Notes
    -----
    k steps of Gram-Schmidt, done twice, on the pivot alone; norms are downdated. 2 l n
    flops a step, 4 l n with a target; geqp3 would factor the whole of B.
    """
    k = min(k, *B.shape)
    residual = _Residual(B, target, rounding, k)
    if len(first) >= k > 0:
        squares = residual.after_all(first[:k])
        if squares is not None:
            return Pivots(np.array(first[:k], dtype=np.intp), np.sqrt(squares))
    indices, squares = [], [float(residual.norms.sum())]
    first = iter(first)
    while len(indices) < k:
        gains = residual.gains(residual.norms, residual.captured)
        best = next((int(j) for j in first if gains[j] > -np.inf), int(np.argmax(gains)))
        if gains[best] == -np.inf:
            break
        if not residual.project_out(best):
            continue
        indices.append(best)
        squares.append(float(np.maximum(residual.norms, 0.0).sum()))
    return Pivots(np.array(indices, dtype=np.intp), np.sqrt(squares))


def swap_columns(
    B: Array,
    indices: Indices,
    *,
    target: Array | None = None,
    rounding: Array | None = None,
) -> np.ndarray:
    """Exchange chosen columns for others while that takes more of the target.

    Parameters
    ----------
    B : ndarray of shape (l, n)
        In float64.
    indices : ndarray of shape (k,)
        Independent columns.
    target : ndarray of shape (l, l), default=None
        Gram matrix of what they are to span; None is that of B.
    rounding : float or ndarray of shape (n,), default=None
        Norms of the rounding errors in the columns of B; None is those of float64.

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
    residual = _Residual(B, target, rounding, 0)
    basis = residual.basis(chosen)
    if basis is None:
        return chosen
    for j, q in zip(chosen, basis[0], strict=True):
        residual.remove(j, q)
    own = _own_directions(*basis)
    position = unchanged = 0
    for _ in range(_MOST_SWEEPS * k):
        if unchanged == k:
            break
        norms, captured = residual.without(own[position])
        gains = residual.gains(norms, captured)
        # Others of the chosen are no candidates.
        gains[np.delete(chosen, position)] = -np.inf
        best = int(np.argmax(gains))
        unchanged += 1
        # A column that depends on the others has no gain, and perhaps no other column has.
        if gains[best] > max(0.0, (1 + _LEAST_GAIN) * gains[chosen[position]]):
            basis = residual.basis(np.append(np.delete(chosen, position), best))
            if basis is None:
                residual.leave_out(best)
            else:
                chosen[position], unchanged = best, 1
                residual.norms, residual.captured = norms, captured
                residual.Q = basis[0][:-1]
                residual.remove(best, basis[0][-1])
                *others, newest = _own_directions(*basis)
                own = np.insert(others, position, newest, axis=0) if k > 1 else own
        position = (position + 1) % k
    return chosen


def lu_pivots(A: Array) -> Indices:
    """Return the rows of A that LU with partial pivoting takes, in order."""
    # The driver would warn of a singular factor; pivots are all that is wanted.
    _, swaps, _ = scipy.linalg.lapack.dgetrf(A)
    order = np.arange(len(A))
    for i, j in enumerate(swaps):
        order[[i, j]] = order[[j, i]]
    return order[: min(A.shape)]


def _own_directions(Q, W):
    """Return, as rows, the unit vectors of a span that one of its columns has alone.

    Row i is orthogonal to all columns but the i-th.
    """
    own = W.T @ Q
    return own / np.linalg.norm(own, axis=1, keepdims=True)


def unit_columns(B: Array) -> tuple[Array, Array]:
    """Return B with columns of unit length, but for zeros, and their lengths."""
    norms = np.sqrt(np.einsum("ij,ij->j", B, B))
    norms[norms == 0] = 1.0
    return B / norms, norms
