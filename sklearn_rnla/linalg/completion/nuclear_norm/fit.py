"""A low-rank matrix fitted to entries, and when its objective has settled."""

from typing import Any, NamedTuple

import numpy as np

from ...._typing import Array, DTypeLike

# Steps without descent after which only rounding is left.
_STALL = 40

# Steps over which the change of the residual counts.
_SETTLED = 3


class LowRankFit(NamedTuple):
    """A low-rank matrix ``U diag(singular_values) Vt`` fitted to observed entries.

    Attributes
    ----------
    U : ndarray of shape (m, k)
        Orthonormal columns.
    singular_values : ndarray of shape (k,)
        Descending.
    Vt : ndarray of shape (k, n)
        Orthonormal rows.
    objective : float
        What was minimised.
    gap : float
        Bound on how far the objective is above its minimum, relative to the objective;
        infinity where there is none.
    n_iter : int
        Steps taken.
    converged : bool
        Whether the tolerance was met.
    history : ndarray of shape (n_iter + 1,)
        The objective before the first and after each.
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    objective: float
    gap: float
    n_iter: int
    converged: bool
    history: np.ndarray

    def balanced(self, most: int | None = None) -> tuple[Array, Array]:
        """Return balanced factors of the `most` largest singular values, None for all."""
        root = np.sqrt(self.singular_values[:most])
        return self.U[:, :most] * root, self.Vt[:most].T * root


def fit_of(
    left: Array, right: Array, gap: float, history: list[float], converged: bool
) -> LowRankFit:
    """Return the `LowRankFit` of ``left right^T``."""
    U, singular_values, Vt = decompose(left, right)
    return LowRankFit(
        U=U,
        singular_values=singular_values,
        Vt=Vt,
        objective=float(history[-1]),
        gap=float(gap),
        n_iter=len(history) - 1,
        converged=bool(converged),
        history=np.array(history),
    )


def stalled(history: list[float], dtype: DTypeLike) -> bool:
    """Return whether an objective does not fall any more but by rounding."""
    if len(history) <= _STALL:
        return False
    return history[-1 - _STALL] - history[-1] <= np.finfo(dtype).eps * history[-1]


def settled(history: list[float], scale: float, tol: float) -> bool:
    """Return whether the residual is small, or has changed little in a few steps."""
    norms = np.sqrt(2 * np.array(history[-1 - _SETTLED :]))
    if norms[-1] <= tol * scale:
        return True
    return len(norms) > _SETTLED and norms[0] - norms[-1] <= _SETTLED * tol * norms[-1]


def decompose(left: Array, right: Array) -> tuple[Array, Array, Array]:
    """Return U, s, Vt of ``left right^T``."""
    P, L = np.linalg.qr(left)
    Q, R = np.linalg.qr(right)
    U, values, Vt = np.linalg.svd(L @ R.T)
    return P @ U, values, Vt @ Q.T


def squared_norm(x: Array) -> float:
    """Return the sum of squares, in float64."""
    return dot(x.ravel(), x.ravel())


def dot(x: Array, y: Array) -> float:
    """Return the inner product of vectors, in float64."""
    if x.dtype == np.float64:
        return float(np.dot(x, y))
    return float(np.einsum("i,i->", x, y, dtype=np.float64))


def inner(left: tuple[Any, ...], right: tuple[Any, ...]) -> float:
    """Return the sum of the inner products of pairs of matrices, in float64."""
    return sum(
        float(np.einsum("ij,ij->", A, B, dtype=np.float64))
        for A, B in zip(left, right, strict=True)
    )
