"""How far an objective with a nuclear norm is from its minimum."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...dense.orth import extend_rows, product64
from ...dense.ritz import bordered

# Blocks of the certificate before the rank grows by much, before a bound is believed, and
# at most.
_GROWTH_BLOCKS, _LEAST_BLOCKS, _MOST_BLOCKS = 3, 8, 60

# Probability that the certificate is wrong.
_FAILURE = 1e-10


class Outside(NamedTuple):
    """Leading singular triples of a residual outside of some factors.

    Attributes
    ----------
    values : ndarray of float64 of shape (l,)
        Descending, none above the true ones.
    right : ndarray of shape (n, l)
    product : callable
        From vectors in rows, of shape (k, n), to the residual times these, (m, k).
    bound : float
        What the norm is at most, with high probability.
    """

    values: np.ndarray
    right: np.ndarray
    product: Callable
    bound: float

    def leading(self, k):
        """Return singular vectors of the k largest values, of shape (m, k) and (n, k)."""
        right = self.right[:, :k]
        values = self.values[:k].astype(right.dtype)
        return self.product(right.T) / values, right


def leading_outside(
    observed, residual, U, V, width, rng, *, accuracy, enough=0.0, above=np.inf
):
    """Return leading singular triples of ``(I - U U^T) R (I - V V^T)``.

    Block Lanczos from random vectors, all kept orthogonal.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    residual : ndarray of shape (nnz,)
        R.
    U, V : ndarray of shape (m, k) and (n, k)
        Orthonormal columns.
    width : int
        Vectors of a block.
    rng : numpy.random.Generator
    accuracy : float
        Relative error of the norm at which to stop.
    enough : float, default=0.0
        Stop when the norm is known to be at most that.
    above : float, default=inf
        Stop early when it is more than that.

    Returns
    -------
    Outside
    """
    n, rank = V.shape
    turned = residual[observed.order]
    basis = np.ascontiguousarray(V.T)
    width = min(width, n - rank)
    block = extend_rows(basis, rng.standard_normal((width, n)).astype(V.dtype))
    likely = np.log(1.648 * np.sqrt(n)) - np.log(_FAILURE) / max(width, 1)
    H, P, bound, n_blocks = np.zeros((0, 0)), np.zeros((0, 0)), 0.0, 0
    values = np.zeros(0)

    def product(rows):
        Y = observed.product(residual, np.ascontiguousarray(rows.T))
        Y -= U @ (U.T @ Y)
        return Y

    while len(block):
        n_blocks += 1
        basis = np.concatenate([basis, block])
        Z = observed.T.product(turned, product(block)).T
        block = extend_rows(basis, Z)
        # Rayleigh and Ritz: squared singular values of the operator times all vectors so
        # far, whose images have m numbers each and are not kept.
        within = product64(basis[rank:], Z)
        H = bordered(H, within[: len(H)], within[len(H) :])
        squares, P = np.linalg.eigh(H)
        values, P = np.sqrt(np.maximum(squares[::-1], 0)), P[:, ::-1]
        # What leads out of the space bounds the error of the largest singular value, if
        # that is the one found.
        remainder = block @ (Z.T @ P[-len(Z) :, 0].astype(Z.dtype))
        bound = np.sqrt(values[0] ** 2 + np.linalg.norm(remainder))
        # Another bound holds with high probability for random start vectors (Kuczynski &
        # Wozniakowski 1992). Those of the block are independent, and any one would do.
        slack = likely / (2 * n_blocks - 1)
        sure = values[0] / np.sqrt(1 - slack**2) if slack < 1 else np.inf
        # The first bound is wrong as long as the leading vector has not shown up.
        trusted = n_blocks >= _LEAST_BLOCKS or not len(block)
        if trusted and (
            min(bound, sure) <= max(enough, (1 + accuracy) * values[0])
            or values[0] > enough > 0
        ):
            bound = min(bound, sure)
            break
        if sure <= enough:
            bound = sure
            break
        # Enough to know that the rank has to grow: accuracy is for the next certificate.
        if n_blocks == _MOST_BLOCKS or (values[0] > above and n_blocks >= _GROWTH_BLOCKS):
            break
    # Not the numerical rank: of squares, what is below the root of eps is lost.
    kept = np.count_nonzero(values > np.sqrt(np.finfo(V.dtype).eps) * values.max(initial=0))
    return Outside(
        values=values[:kept],
        right=basis[rank:].T @ P[:, :kept].astype(V.dtype),
        product=product,
        bound=bound,
    )


def relative_gap(penalty, norm, square, total, through):
    """Return the duality gap of a residual scaled to spectral norm `penalty`.

    Parameters
    ----------
    penalty : float
    norm, square : float
        Of the residual: its spectral norm, its squared norm.
    total : float
        Nuclear norm of the matrix.
    through : float
        Inner product of the residual with the matrix.

    Returns
    -------
    float
        Relative to the objective.
    """
    objective = 0.5 * square + penalty * total
    if objective == 0:
        return 0.0
    shrunk = min(1.0, penalty / norm) if norm > 0 else 1.0
    # Primal less dual, max <Y, X> - ||Y||^2 / 2 over spectral norms up to the penalty, at Y
    # = shrunk R. Terms are joined so that none cancels.
    gap = 0.5 * (1 - shrunk) ** 2 * square + penalty * total - shrunk * through
    return float(max(gap, 0.0) / objective)
