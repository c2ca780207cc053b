"""How far an objective with a nuclear norm is from its minimum."""

from typing import NamedTuple

import numpy as np

from ...._typing import Array
from ....operators.observed import Observed
from ...dense.orth import extend_rows, product64

# Blocks of the certificate before the rank grows by much, before a bound is believed, and
# at most.
_GROWTH_BLOCKS, _LEAST_BLOCKS, _MOST_BLOCKS = 3, 8, 60

# Probability that the certificate is wrong.
_FAILURE = 1e-10


class Outside(NamedTuple):
    """Leading singular triples of a residual outside of some factors.

    Attributes
    ----------
    left : ndarray of shape (m, l)
    values : ndarray of float64 of shape (l,)
        Descending, none above the true ones.
    right : ndarray of shape (n, l)
    bound : float
        What the norm is at most, with high probability.
    """

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray
    bound: float


def leading_outside(
    observed: Observed,
    residual: Array,
    U: Array,
    V: Array,
    width: int,
    rng: np.random.Generator,
    *,
    accuracy: float,
    enough: float = 0.0,
    above: float = np.inf,
) -> Outside:
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
    products, bound, values = [], 0.0, np.zeros(0)
    while len(block):
        basis = np.concatenate([basis, block])
        Y = observed.product(residual, np.ascontiguousarray(block.T))
        Y -= U @ (U.T @ Y)
        products.append(Y)
        Z = observed.T.product(turned, Y)
        block = extend_rows(basis, Z.T)
        # Rayleigh and Ritz: singular values of the operator times all vectors so far.
        stacked = np.concatenate(products, axis=1)
        squares, P = np.linalg.eigh(product64(stacked.T, stacked.T))
        values, P = np.sqrt(np.maximum(squares[::-1], 0)), P[:, ::-1]
        # What leads out of the space bounds the error of the largest singular value, if
        # that is the one found.
        remainder = block @ Z @ P[-Z.shape[1] :, 0].astype(Z.dtype)
        bound = np.sqrt(values[0] ** 2 + np.linalg.norm(remainder))
        # Another bound holds with high probability for random start vectors (Kuczynski &
        # Wozniakowski 1992). Those of the block are independent, and any one would do.
        slack = likely / (2 * len(products) - 1)
        sure = values[0] / np.sqrt(1 - slack**2) if slack < 1 else np.inf
        # The first bound is wrong as long as the leading vector has not shown up.
        trusted = len(products) >= _LEAST_BLOCKS or not len(block)
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
        if len(products) == _MOST_BLOCKS or (
            values[0] > above and len(products) >= _GROWTH_BLOCKS
        ):
            break
    # Not the numerical rank: of squares, what is below the root of eps is lost.
    kept = np.count_nonzero(values > np.sqrt(np.finfo(V.dtype).eps) * values.max(initial=0))
    values = values[:kept]
    if not kept:
        return Outside(left=U[:, :0], values=values, right=V[:, :0], bound=bound)
    P = P[:, :kept]
    return Outside(
        left=stacked @ (P / values).astype(V.dtype),
        values=values,
        right=basis[rank:].T @ P.astype(V.dtype),
        bound=bound,
    )


def relative_gap(
    penalty: float, norm: float, square: float, total: float, through: float
) -> float:
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
